// SPDX-License-Identifier: GPL-2.0
/*
 * The functions of virgo.h as functions of a library, libvirgo.a.
 */
#define VIRGO_FUNCTION
#include <virgo.h>
