// SPDX-License-Identifier: GPL-2.0
// Uses every function of include/virgo.h as programs do, in what is both C11 and C++17, so that a
// compiler that warns of the header warns here. It is compiled only.
#include <virgo.h>

#include <fcntl.h>
#include <string.h>

int memory(char *data, size_t len);
int calls(const char *words, unsigned int len);
int files(const char *path, char *data, size_t len);
long queue(const char *name, unsigned int len);

// An id is set if the call went well: compilers must see that.
int memory(char *data, size_t len)
{
	unsigned long long id, other;

	if (virgo_malloc(1, &id))
		return -1;
	if (virgo_malloc2(1, VIRGO_MALLOC_SHARED, VIRGO_PLACE_NODE, 1, 0, &other) < 0)
		return virgo_free(id);
	if (virgo_set(id, "") < 0 || virgo_get(id, data) < 0)
		return virgo_free2(other, 0);
	if (virgo_set2(other, 0, data, len, 0) < 0)
		return -1;
	return virgo_get2(other, 0, data, len, 0) == (long)len ? 0 : -1;
}

int calls(const char *words, unsigned int len)
{
	struct virgo_call call;

	memset(&call, 0, sizeof(call));
	call.argv = (unsigned long)words;
	call.argv_len = len;
	if (virgo_clone("noop") || virgo_clone2(&call, 1, VIRGO_CLONE_ASYNC, 0) < 0)
		return -1;
	if (virgo_wait(&call, 1, 0) < 0)
		return virgo_cancel(call.job, 0);
	return call.state == VIRGO_CALL_RETURNED ? 0 : -1;
}

int files(const char *path, char *data, size_t len)
{
	int fd = virgo_open(path);

	if (fd >= 0)
		virgo_close(fd);
	fd = virgo_open2(path, O_RDWR | O_CREAT, 0644, 0);
	if (virgo_write(fd, data, (int)len, 0) < 0 || virgo_read(fd, data, (int)len, 0) < 0)
		return -1;
	if (virgo_write2(fd, 0, data, len, 0) < 0 || virgo_read2(fd, 0, data, len, 0) < 0)
		return -1;
	return virgo_fsync(fd);
}

long queue(const char *name, unsigned int len)
{
	struct virgo_message message;
	struct virgo_queue_args args;

	memset(&message, 0, sizeof(message));
	memset(&args, 0, sizeof(args));
	args.op = VIRGO_QUEUE_PUBLISH;
	args.fd = -1;
	args.name = (unsigned long)name;
	args.name_len = len;
	args.messages = (unsigned long)&message;
	args.count = 1;
	return virgo_queue(&args);
}
