/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the Rust side of this crate needs of the C side, and the structures of
 * the calls. bindgen reads this file.
 */
#ifndef VIRGO_ABI_H
#define VIRGO_ABI_H

#include <linux/types.h>
#include <linux/virgo_calls.h>
#include <uapi/linux/virgo.h>

#include "device.h"
#include "served.h"

#endif /* VIRGO_ABI_H */
