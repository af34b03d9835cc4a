/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The bakery lock, for modules in C: threads that know each other by number
 * exclude each other, first come, first served.
 *
 * There is one such lock, which all modules share. Its participants are 0 to
 * N - 1, where N is the parameter bakery_participants of virgo_cloudsync; who
 * uses which number is up to the modules. A module that uses these functions
 * needs virgo_cloudsync, and keeps it loaded; before it goes itself it releases
 * what it has.
 */
#ifndef _LINUX_VIRGO_BAKERY_H
#define _LINUX_VIRGO_BAKERY_H

/**
 * bakery_lock - take the lock, behind all who were through the doorway before
 * @thread_id:  as which participant
 * @oneforloop: not 0 to wait for the doorway and the ticket of one participant
 *              after the other; 0 for the doorways of all and then the tickets
 *              of all. The lock is the same.
 *
 * May sleep, killably and without a time limit.
 *
 * Return: 0, -EINVAL if there is no such participant, -EDEADLK if it has the
 * lock, -EBUSY if another task is about to take or release the lock as this
 * participant, -EINTR if the task is being killed, -EOVERFLOW if no ticket is
 * left, which takes centuries.
 */
int bakery_lock(int thread_id, int oneforloop);

/**
 * bakery_lock_timeout - take the lock, if that is possible in time
 * @thread_id:  as which participant
 * @oneforloop: as for bakery_lock()
 * @timeout_ms: how long to wait for it, in ms
 *
 * May sleep.
 *
 * Return: as bakery_lock(), or -ETIMEDOUT.
 */
int bakery_lock_timeout(int thread_id, int oneforloop, unsigned int timeout_ms);

/**
 * bakery_unlock - release the lock
 * @thread_id: which participant has it
 *
 * Wakes who is next, and does not sleep. Not in interrupts.
 *
 * Return: 0, -EINVAL if there is no such participant, -EPERM if it does not
 * have the lock.
 */
int bakery_unlock(int thread_id);

#endif /* _LINUX_VIRGO_BAKERY_H */
