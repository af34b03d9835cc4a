// SPDX-License-Identifier: GPL-2.0

//! The body of a request that outlives its turn in a session, since the reply is deferred.

use kernel::prelude::*;

/// The body of a request that is kept until its deferred reply is given.
pub struct RequestBody {
    pub(crate) bytes: KVVec<u8>,
    pub(crate) start: usize,
}

impl RequestBody {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// Gets the body of a request whose reply is deferred.
pub(crate) trait TakeRequest {
    /// Called once.
    fn call(&mut self, body: Result<RequestBody>);
}

impl<F: FnOnce(Result<RequestBody>)> TakeRequest for Option<F> {
    fn call(&mut self, body: Result<RequestBody>) {
        if let Some(function) = self.take() {
            function(body);
        }
    }
}
