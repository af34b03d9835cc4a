// SPDX-License-Identifier: GPL-2.0
/*
 * Listens on a TCP port, accepts connections, and closes each at once.
 *
 * Usage: virgo_close_accepted PORT
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int one = 1;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_port = htons(argc > 1 ? atoi(argv[1]) : 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 64)) {
		perror("virgo_close_accepted");
		return 1;
	}
	for (;;) {
		int accepted = accept(listener, NULL, NULL);

		if (accepted >= 0)
			close(accepted);
	}
}
