// SPDX-License-Identifier: GPL-2.0
//! Devices that the test plays: `/dev/raw-gadget`.
//!
//! A device runs in a process of its own, because its calls of the kernel wait for the host: killing the process
//! pulls the plug.
#![expect(unsafe_code, reason = "ioctl")]

use crate::support::run;
use std::{
    env,
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
    sync::Once,
};

/// The word by which this program is told to be a device.
pub(crate) const PLAY: &str = "play-usb-device";

/// The id of devices that umb binds without being asked to.
pub(crate) const ID: (u16, u16) = (0x12d1, 0x140b);

const fn request(direction: u32, number: u32, size: usize) -> u64 {
    ((direction << 30) | ((size as u32) << 16) | ((b'U' as u32) << 8) | number) as u64
}

const INIT: u64 = request(1, 0, 257);
const RUN: u64 = request(0, 1, 0);
const EVENT_FETCH: u64 = request(2, 2, 8);
const EP0_WRITE: u64 = request(1, 3, 8);
const EP0_READ: u64 = request(3, 4, 8);
const EP_ENABLE: u64 = request(1, 5, 9);
const EP_WRITE: u64 = request(1, 7, 8);
const EP_READ: u64 = request(3, 8, 8);
const CONFIGURE: u64 = request(0, 9, 0);
const EP0_STALL: u64 = request(0, 12, 0);
const EP_SET_HALT: u64 = request(1, 13, 4);
const EP_CLEAR_HALT: u64 = request(1, 14, 4);

/// An open `/dev/raw-gadget`.
pub(crate) struct RawGadget(File);

/// What the host does.
pub(crate) enum Event {
    /// Asks for something.
    Control([u8; 8]),
    /// Anything else.
    Other,
}

impl RawGadget {
    fn ioctl(&self, request: u64, argument: *mut u8) -> io::Result<i32> {
        // SAFETY: Callers pass a buffer as large as the request says, and for those with data behind as
        // large as the length in it says.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, argument) } {
            -1 => Err(io::Error::last_os_error()),
            n => Ok(n),
        }
    }

    /// Plugs the device in.
    pub(crate) fn plug() -> io::Result<Self> {
        let gadget = RawGadget(
            OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/raw-gadget")?,
        );
        let mut init = [0; 257];
        init[..9].copy_from_slice(b"dummy_udc");
        init[128..139].copy_from_slice(b"dummy_udc.0");
        // USB_SPEED_HIGH
        init[256] = 3;
        gadget.ioctl(INIT, init.as_mut_ptr())?;
        gadget.ioctl(RUN, std::ptr::null_mut())?;
        Ok(gadget)
    }

    /// Waits for the host.
    pub(crate) fn event(&self) -> io::Result<Event> {
        let mut event = [0; 8 + 64];
        event[4..8].copy_from_slice(&64u32.to_ne_bytes());
        self.ioctl(EVENT_FETCH, event.as_mut_ptr())?;
        let mut setup = [0; 8];
        setup.copy_from_slice(&event[8..16]);
        Ok(match event[0] {
            2 => Event::Control(setup),
            _ => Event::Other,
        })
    }

    fn transfer(&self, request: u64, endpoint: u16, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut io = vec![0; 8 + data.len()];
        io[..2].copy_from_slice(&endpoint.to_ne_bytes());
        io[4..8].copy_from_slice(&(data.len() as u32).to_ne_bytes());
        io[8..].copy_from_slice(data);
        let n = self.ioctl(request, io.as_mut_ptr())?;
        Ok(io[8..8 + (n as usize).min(data.len())].to_vec())
    }

    /// Answers a control transfer, to the host.
    pub(crate) fn answer(&self, data: &[u8]) -> io::Result<()> {
        self.transfer(EP0_WRITE, 0, data).map(drop)
    }

    /// Takes a control transfer, from the host.
    pub(crate) fn acknowledge(&self, len: usize) -> io::Result<()> {
        self.transfer(EP0_READ, 0, &vec![0; len]).map(drop)
    }

    /// Refuses a control transfer.
    pub(crate) fn stall(&self) -> io::Result<()> {
        self.ioctl(EP0_STALL, std::ptr::null_mut()).map(drop)
    }

    /// The host has chosen the configuration.
    pub(crate) fn configured(&self) -> io::Result<()> {
        self.ioctl(CONFIGURE, std::ptr::null_mut()).map(drop)
    }

    /// Begins to use an endpoint, by its descriptor. Returns its number for the other calls.
    pub(crate) fn enable(&self, descriptor: [u8; 7]) -> io::Result<u16> {
        let mut padded = [0; 9];
        padded[..7].copy_from_slice(&descriptor);
        Ok(self.ioctl(EP_ENABLE, padded.as_mut_ptr())? as u16)
    }

    /// Sends; waits until the host has it.
    pub(crate) fn send(&self, endpoint: u16, data: &[u8]) -> io::Result<()> {
        self.transfer(EP_WRITE, endpoint, data).map(drop)
    }

    /// Waits for data.
    pub(crate) fn receive(&self, endpoint: u16, len: usize) -> io::Result<Vec<u8>> {
        self.transfer(EP_READ, endpoint, &vec![0; len])
    }

    /// Stalls an endpoint. The number is the argument itself.
    pub(crate) fn halt(&self, endpoint: u16) -> io::Result<()> {
        self.ioctl(
            EP_SET_HALT,
            std::ptr::without_provenance_mut(endpoint.into()),
        )
        .map(drop)
    }

    /// Ends that.
    pub(crate) fn clear_halt(&self, endpoint: u16) -> io::Result<()> {
        self.ioctl(
            EP_CLEAR_HALT,
            std::ptr::without_provenance_mut(endpoint.into()),
        )
        .map(drop)
    }
}

/// A device in a process of its own; dropping it pulls the plug.
pub(crate) struct Played(Child);

impl Played {
    /// Plays the device `name`, with a number to vary it.
    pub(crate) fn start(name: &str, seed: u64) -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            run(&["modprobe", "dummy_hcd"]);
            run(&["modprobe", "raw_gadget"]);
        });
        let program = env::current_exe().expect("this program");
        let child = Command::new(program)
            .args([PLAY, name, &seed.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("a process");
        Played(child)
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.0.kill().expect("kill");
        self.0.wait().expect("wait");
    }
}
