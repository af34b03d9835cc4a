// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of variables: from Rust and from C.

use kernel::prelude::*;

#[kunit_tests(virgo_variables)]
mod tests {
    use kernel::{
        prelude::*,
        sync::{
            rcu,
            Arc, //
        }, //
    };
    use linux::rcu::{
        RcuBox,
        RcuCell, //
    };
    use virgo_proto::analytics::variable::{
        Declaration,
        ValueType, //
    };
    use virgo_utils::variables::{
        decimal,
        integer,
        with_text,
        Variable, //
    };

    // `include/linux/virgo_analytics.h`.
    extern "C" {
        fn virgo_analytics_integer(key: *const c_char, value: *mut i64) -> c_int;
        fn virgo_analytics_decimal(key: *const c_char, millionths: *mut i64) -> c_int;
        fn virgo_analytics_text(key: *const c_char, text: *mut c_char, size: usize) -> isize;
    }

    const COUNT: Declaration = Declaration {
        name: "virgo_test_count",
        kind: ValueType::Integer,
        unit: "",
        min: 0,
        max: 100_000,
        default: 12_345,
        check: None,
        reader: "test_kunit",
        about: "nothing",
    };

    const RATE: Declaration = Declaration {
        name: "virgo_test_rate",
        kind: ValueType::Decimal,
        unit: "",
        min: 0,
        max: 10_000_000,
        default: 1_500_000,
        check: None,
        reader: "test_kunit",
        about: "nothing",
    };

    #[test]
    fn a_declared_variable_is_found_by_its_key() -> Result {
        assert_eq!(decimal(RATE.name), None);
        let rate = Variable::declare(&RATE)?;
        assert_eq!(rate.get(), 1_500_000);
        assert_eq!(decimal(RATE.name), Some(1_500_000));
        assert_eq!(integer(RATE.name), None);
        assert_eq!(with_text(RATE.name, |text| text == "1.5"), Some(true));
        assert_eq!(Variable::declare(&RATE).err(), Some(EEXIST));
        assert_eq!(decimal(RATE.name), Some(1_500_000));
        drop(rate);
        assert_eq!(decimal(RATE.name), None);
        Ok(())
    }

    #[test]
    fn modules_in_c_find_numbers() -> Result {
        let declared = (Variable::declare(&COUNT)?, Variable::declare(&RATE)?);
        let (mut number, mut millionths) = (7, 7);
        // SAFETY: Strings that end with NUL, and places for the values.
        let found = unsafe {
            (
                virgo_analytics_integer(c"virgo_test_count".as_char_ptr(), &mut number),
                virgo_analytics_decimal(c"virgo_test_rate".as_char_ptr(), &mut millionths),
            )
        };
        assert_eq!((found, number, millionths), ((0, 0), 12_345, 1_500_000));
        let (mut number, mut millionths) = (7, 7);
        // SAFETY: As above.
        let missed = unsafe {
            (
                virgo_analytics_integer(c"virgo_test_rate".as_char_ptr(), &mut number),
                virgo_analytics_integer(c"virgo_test_nothing".as_char_ptr(), &mut number),
                virgo_analytics_decimal(c"virgo_test_nothing".as_char_ptr(), &mut millionths),
            )
        };
        let (no_integer, no_variable) = (EINVAL.to_errno(), ENOENT.to_errno());
        assert_eq!(missed, (no_integer, no_variable, no_variable));
        // What may be a default of the caller's is as it was.
        assert_eq!((number, millionths), (7, 7));
        drop(declared);
        Ok(())
    }

    #[test]
    fn modules_in_c_get_texts_that_fit() -> Result {
        let declared = Variable::declare(&COUNT)?;
        let mut text = *b"........";
        let mut find = |key: &CStr, size: usize| {
            // SAFETY: The string ends with NUL; no more than the bytes of `text` are asked for.
            unsafe {
                virgo_analytics_text(key.as_char_ptr(), text.as_mut_ptr().cast(), size.min(8))
            }
        };
        let (too_long, no_variable) = (E2BIG.to_errno() as isize, ENOENT.to_errno() as isize);
        let key = c"virgo_test_count";
        assert_eq!((find(key, 0), find(key, 5)), (too_long, too_long));
        assert_eq!(find(c"virgo_test_nothing", 8), no_variable);
        assert_eq!(find(c"virgo_test_nothing", 0), no_variable);
        assert_eq!(text, *b"........");
        let mut find = |size: usize| {
            // SAFETY: As above.
            unsafe {
                virgo_analytics_text(key.as_char_ptr(), text.as_mut_ptr().cast(), size.min(8))
            }
        };
        assert_eq!(find(6), 5);
        assert_eq!(text, *b"12345\0..");
        drop(declared);
        Ok(())
    }

    #[test]
    fn what_is_replaced_is_freed_when_its_readers_are_gone() -> Result {
        let value = Arc::new(1, GFP_KERNEL)?;
        let cell = RcuCell::new(RcuBox::new(value.clone())?);
        assert_eq!(cell.get(&rcu::read_lock()).map(|seen| **seen), Some(1));
        cell.replace(Some(RcuBox::new(Arc::new(2, GFP_KERNEL)?)?));
        assert_eq!(cell.get(&rcu::read_lock()).map(|seen| **seen), Some(2));
        rcu::rcu_barrier();
        // The cell's reference is gone: this is the only one.
        assert!(Arc::into_unique_or_drop(value).is_some());
        cell.replace(None);
        assert!(cell.get(&rcu::read_lock()).is_none());
        rcu::rcu_barrier();
        Ok(())
    }
}
