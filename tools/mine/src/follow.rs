// SPDX-License-Identifier: GPL-2.0
//! Reading a file that grows, is cut, or is put aside for another of its name.

use std::{
    fs::{File, Metadata},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

/// A file that is followed.
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

/// What is new in a file.
pub enum News<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// It goes on with another file, or was cut: a line that was not finished never will be.
    Restart,
    /// Nothing for now.
    Nothing,
}

impl Follower {
    /// Follows the file at `path` from its beginning; it need not be there yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            buffer: vec![0; 1 << 18],
        }
    }

    /// What has come since the last call.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn poll(&mut self) -> io::Result<News<'_>> {
        let Some(file) = &mut self.file else {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(News::Nothing),
                Err(error) => return Err(error),
            }
            return Ok(News::Restart);
        };
        let n = file.read(&mut self.buffer)?;
        if n > 0 {
            return Ok(News::Bytes(&self.buffer[..n]));
        }
        // All of it was read: is it still the file of this name, and as long as it was?
        let now = file.metadata()?;
        if file.stream_position()? > now.len() {
            file.seek(SeekFrom::Start(0))?;
            return Ok(News::Restart);
        }
        let is_another = |named: &Metadata| (named.dev(), named.ino()) != (now.dev(), now.ino());
        match self.path.metadata() {
            // Whoever writes may have the old one open for a while: it goes on with that until there is
            // something in the new one.
            Ok(named) if is_another(&named) && named.len() > 0 => {
                let n = file.read(&mut self.buffer)?;
                if n > 0 {
                    return Ok(News::Bytes(&self.buffer[..n]));
                }
                self.file = None;
            }
            _ => (),
        }
        Ok(News::Nothing)
    }
}
