// SPDX-License-Identifier: GPL-2.0

//! Lists of slots: doubly linked, last in first out. A slot is on one list at most.

/// Stands for the end of a list.
const END: u16 = u16::MAX;

/// The neighbours of a slot on its list.
#[derive(Clone, Copy)]
pub(super) struct ListLinks {
    next: u16,
    previous: u16,
}

impl ListLinks {
    pub(super) const fn new() -> Self {
        ListLinks {
            next: END,
            previous: END,
        }
    }
}

/// What has links: an element of the slice that a list runs through.
pub(super) trait Linked {
    fn links(&mut self) -> &mut ListLinks;
}

/// The start of a list through a slice.
pub(super) struct SlotList {
    first: u16,
}

impl SlotList {
    pub(super) const fn new() -> Self {
        SlotList { first: END }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first == END
    }

    /// The element that was put on the list last.
    pub(super) fn first(&self) -> Option<u16> {
        (!self.is_empty()).then_some(self.first)
    }

    /// Puts element `at`, which is on no list, on this one.
    pub(super) fn push(&mut self, elements: &mut [impl Linked], at: u16) {
        if let Some(element) = elements.get_mut(usize::from(at)) {
            *element.links() = ListLinks {
                next: self.first,
                previous: END,
            };
            if let Some(second) = elements.get_mut(usize::from(self.first)) {
                second.links().previous = at;
            }
            self.first = at;
        }
    }

    /// Takes element `at`, which is on this list, off it.
    pub(super) fn remove(&mut self, elements: &mut [impl Linked], at: u16) {
        let Some(element) = elements.get_mut(usize::from(at)) else {
            return;
        };
        let ListLinks { next, previous } = core::mem::replace(element.links(), ListLinks::new());
        match elements.get_mut(usize::from(previous)) {
            Some(element) => element.links().next = next,
            None => self.first = next,
        }
        if let Some(element) = elements.get_mut(usize::from(next)) {
            element.links().previous = previous;
        }
    }

    /// Takes the element off the list that was put there last.
    pub(super) fn pop(&mut self, elements: &mut [impl Linked]) -> Option<u16> {
        let at = self.first()?;
        self.remove(elements, at);
        Some(at)
    }
}
