// SPDX-License-Identifier: GPL-2.0
/* The tracepoints of trace.h, and what Rust code calls when one is switched on. */
#include <linux/types.h>

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "trace.h"
