// SPDX-License-Identifier: GPL-2.0
// Compiles include/virgo.h alone and as C++: every function of it with the types that C++ has for
// its arguments.
#include <virgo.h>

int main()
{
	unsigned long long id = 0;
	char data[8];
	virgo_call call = {};

	return virgo_malloc(1, &id) | virgo_set(id, "") | virgo_get(id, data) | virgo_free(id) |
	       virgo_malloc2(1, VIRGO_MALLOC_SHARED, VIRGO_PLACE_NODE, 1, 0, &id) |
	       static_cast<int>(virgo_set2(id, 0, data, sizeof(data), 0)) |
	       static_cast<int>(virgo_get2(id, 0, data, sizeof(data), 0)) | virgo_free2(id, 0) |
	       virgo_clone("noop") | static_cast<int>(virgo_clone2(&call, 1, VIRGO_CLONE_ASYNC, 0)) |
	       static_cast<int>(virgo_wait(&call, 1, 0)) | virgo_cancel(call.job, 0);
}
