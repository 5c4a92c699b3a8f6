#pragma once

#include <stddef.h>
#include <sys/types.h>

#define FDPASS_MAX_FDS 16

/*
 * One message with file descriptors over a unix socket (unix(7),
 * SCM_RIGHTS); meant for SOCK_SEQPACKET, where a message stays whole.
 *
 * fdpass_send: the fds stay the caller's. 0 or -errno (-EAGAIN on a full
 * non-blocking socket). SIGPIPE is never raised.
 *
 * fdpass_recv: returns the length of the message, 0 at end of stream, or
 * -errno. Received fds are close-on-exec and become the caller's;
 * *ret_nfds is the count. A message that was cut (buffer or fd table too
 * small) closes every fd that came and is -EMSGSIZE.
 */
int fdpass_send(int sock, const void *buf, size_t len, const int *fds, size_t nfds);
ssize_t fdpass_recv(int sock, void *buf, size_t len, int *fds, size_t max_fds, size_t *ret_nfds);
