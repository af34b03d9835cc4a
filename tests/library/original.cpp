// SPDX-License-Identifier: GPL-2.0
// The original's function: C++, so that its symbol is _Z16virgo_cloud_testPv.
#include <cstdio>

void *virgo_cloud_test(void *text)
{
	std::printf("virgo_cloud_test: %s\n", static_cast<const char *>(text));
	return nullptr;
}
