/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Variables that are learnt outside of the kernel, for modules in C.
 *
 * They are found by their key, under RCU: in any context, without a lock. A
 * module that uses these needs virgo_utils.
 */
#ifndef _LINUX_VIRGO_ANALYTICS_H
#define _LINUX_VIRGO_ANALYTICS_H

#include <linux/types.h>

/**
 * virgo_analytics_integer - value of a variable as an integer
 * @key:   its key
 * @value: where the value goes; a boolean is 0 or 1
 *
 * Return: 0, -ENOENT if there is no such variable, -EINVAL if it is no integer.
 * @value is changed on success only, so that it may hold a default.
 */
int virgo_analytics_integer(const char *key, s64 *value);

/**
 * virgo_analytics_decimal - value of a variable as a decimal
 * @key:        its key
 * @millionths: where the value goes, times 1000000
 *
 * Return: as virgo_analytics_integer().
 */
int virgo_analytics_decimal(const char *key, s64 *millionths);

/**
 * virgo_analytics_text - value of a variable as it was written
 * @key:  its key
 * @text: where it goes, with a NUL
 * @size: bytes of @text
 *
 * Return: length of the value, -ENOENT, or -E2BIG if it does not fit; then
 * @text is not changed.
 */
ssize_t virgo_analytics_text(const char *key, char *text, size_t size);

#endif /* _LINUX_VIRGO_ANALYTICS_H */
