// SPDX-License-Identifier: GPL-2.0

//! The kernel's own cryptography, and its sums.

use crate::helpers;
use kernel::bindings;

/// HMAC-SHA256 (RFC 2104) of `data` under `key`. Any context.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = [0; 32];
    // SAFETY: The pointers are valid for the lengths beside them, `mac` for 32 bytes.
    unsafe {
        bindings::hmac_sha256_usingrawkey(
            key.as_ptr(),
            key.len(),
            data.as_ptr(),
            data.len(),
            mac.as_mut_ptr(),
        )
    };
    mac
}

/// Compares secrets in a time that depends on their lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // SAFETY: Both pointers are valid for `a.len()` bytes.
    unsafe { helpers::virgo_bytes_equal(a.as_ptr().cast(), b.as_ptr().cast(), a.len()) }
}

/// SipHash-2-4 of `bytes` under `key`: a code that nobody can make who does not know the key. Any context.
pub fn siphash(key: &[u8; 16], bytes: &[u8]) -> u64 {
    // SAFETY: The pointer is valid for the length, `key` for its 16 bytes.
    unsafe { helpers::virgo_siphash(bytes.as_ptr().cast(), bytes.len(), key.as_ptr()) }
}

/// CRC-32C of `bytes`, going on from `seed`. Begins and ends with all bits inverted, which is the
/// caller's affair. Any context.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    // SAFETY: The pointer is valid for the length.
    unsafe { helpers::virgo_crc32c(seed, bytes.as_ptr().cast(), bytes.len()) }
}

/// Random bytes fit for keys and nonces. Any context.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: The pointer is valid for `N` bytes.
    unsafe { bindings::get_random_bytes(bytes.as_mut_ptr().cast(), N) };
    bytes
}

/// A random number.
pub fn random_u64() -> u64 {
    u64::from_ne_bytes(random())
}

/// A random number.
pub fn random_u32() -> u32 {
    u32::from_ne_bytes(random())
}
