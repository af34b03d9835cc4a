// SPDX-License-Identifier: GPL-2.0

//! libFuzzer's program: runs the target that `VIRGO_FUZZ_TARGET` names.

#![no_main]

use std::{env, sync::LazyLock};

static TARGET: LazyLock<virgo_fuzz::Target> = LazyLock::new(|| {
    let name = env::var("VIRGO_FUZZ_TARGET").unwrap_or_default();
    virgo_fuzz::target(&name)
        .unwrap_or_else(|| panic!("VIRGO_FUZZ_TARGET='{name}' is no target of virgo-fuzz"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
