/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Saying what happens, from modules in C. virgo_utils exports this.
 */
#ifndef _LINUX_VIRGO_EVENTNET_H
#define _LINUX_VIRGO_EVENTNET_H

/**
 * virgo_eventnet_log() - tell EventNet of something
 * @msg: a text of up to 256 bytes; of a longer one the first ones are taken, and
 *       a message that is longer is lost
 *
 * A message like "eventnet_edgemsg#1#2" is written to the files in
 * /var/log/eventnet, later. Any other text becomes an event of kind "log", if
 * such are recorded, whose cause is what the calling task has recorded last.
 *
 * Context: any but NMI. Does not sleep, and does not fail: what cannot be kept
 * is counted, and told by "virgo eventnet loss".
 */
void virgo_eventnet_log(const char *msg);

#endif /* _LINUX_VIRGO_EVENTNET_H */
