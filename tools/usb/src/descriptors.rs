// SPDX-License-Identifier: GPL-2.0
//! Descriptors, as devices send them: nothing in them is believed.

use serde::Serialize;

/// Class of storage.
pub const STORAGE: u8 = 0x08;
/// Class of human interfaces.
pub const HUMAN: u8 = 0x03;
/// Protocol of keyboards among those.
pub const KEYBOARD: u8 = 0x01;

/// What a device says that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DeviceDescriptor {
    /// Vendor.
    pub vendor: u16,
    /// Product.
    pub product: u16,
    /// Version of the device, binary coded decimal.
    pub version: u16,
    /// Class, 0 if the interfaces have their own.
    pub class: u8,
}

/// An interface, or another setting of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct InterfaceDescriptor {
    /// Class, subclass and protocol.
    pub class: (u8, u8, u8),
    /// Addresses and types of its endpoints: 0 control, 1 isochronous, 2 bulk, 3 interrupt.
    pub endpoints: Vec<(u8, u8)>,
}

impl InterfaceDescriptor {
    /// Whether it says that it is a keyboard.
    pub fn is_keyboard(&self) -> bool {
        self.class.0 == HUMAN && self.class.2 == KEYBOARD
    }

    /// Whether it is for people.
    pub fn is_human(&self) -> bool {
        self.class.0 == HUMAN
    }

    /// Whether it sends reports on this endpoint.
    pub fn reports_on(&self, endpoint: u8) -> bool {
        self.endpoints.contains(&(endpoint, 3))
    }
}

/// Parses a device descriptor.
pub fn device(bytes: &[u8]) -> Option<DeviceDescriptor> {
    let word = |at: usize| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    if bytes.first().is_none_or(|&len| len < 18) || bytes.get(1) != Some(&1) {
        return None;
    }
    Some(DeviceDescriptor {
        class: *bytes.get(4)?,
        vendor: word(8)?,
        product: word(10)?,
        version: word(12)?,
    })
}

/// Parses the interfaces of a configuration descriptor, as far as it goes.
pub fn interfaces(bytes: &[u8]) -> Vec<InterfaceDescriptor> {
    let mut found: Vec<InterfaceDescriptor> = Vec::new();
    let mut rest = bytes;
    while let [len, kind, ..] = *rest {
        let len = usize::from(len);
        // A length of 0 would be for ever, one beyond the end is a lie.
        let Some((descriptor, behind)) = rest.split_at_checked(len).filter(|_| len >= 2) else {
            break;
        };
        rest = behind;
        match (kind, descriptor) {
            (4, [_, _, _, _, _, class, subclass, protocol, ..]) => {
                found.push(InterfaceDescriptor {
                    class: (*class, *subclass, *protocol),
                    endpoints: Vec::new(),
                });
            }
            (5, [_, _, address, attributes, ..]) => {
                if let Some(interface) = found.last_mut() {
                    // The kernel does not look at the other bits, and captures do not have them.
                    interface.endpoints.push((address & 0x8f, attributes & 3));
                }
            }
            _ => (),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_keyboard_is_seen() {
        let bytes = [
            9, 2, 34, 0, 1, 1, 0, 0xa0, 50, //
            9, 4, 0, 0, 1, 3, 1, 1, 0, //
            9, 0x21, 0x11, 1, 0, 1, 0x22, 63, 0, //
            7, 5, 0x81, 3, 8, 0, 10,
        ];
        let found = interfaces(&bytes);
        assert_eq!(found.len(), 1);
        assert!(found[0].is_keyboard());
        assert_eq!(found[0].endpoints, [(0x81, 3)]);
    }

    #[test]
    fn bits_of_an_address_that_mean_nothing_are_left_out() {
        let found = interfaces(&[9, 4, 0, 0, 1, 3, 1, 1, 0, 7, 5, 0xf1, 3, 8, 0, 10]);
        assert_eq!(found[0].endpoints, [(0x81, 3)]);
        assert!(found[0].reports_on(0x81));
    }

    #[test]
    fn lying_lengths_end_the_search() {
        for lie in [0, 1, 200] {
            assert_eq!(
                interfaces(&[9, 4, 0, 0, 1, 8, 6, 80, 0, lie, 5, 1, 2, 3]).len(),
                1
            );
        }
        assert_eq!(device(&[18, 1, 0]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = (device(&bytes), interfaces(&bytes));
        }
    }
}
