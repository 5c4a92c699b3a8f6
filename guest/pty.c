#include "pty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <wire/guest_proto.h>

int pty_open(
	uid_t uid, uint32_t rows, uint32_t cols, int *ret_master, int *ret_slave, struct kerr *e)
{
	_cleanup_close_ int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	_cleanup_close_ int slave = -1;

	if (master < 0)
		return kerr_errno(e, errno, "terminal (/dev/ptmx)");
	if (unlockpt(master) < 0)
		return kerr_errno(e, errno, "terminal: unlock");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return kerr_errno(e, errno, "terminal: other end");
	if (fchown(slave, uid, (gid_t)-1) < 0)
		return kerr_errno(e, errno, "terminal: owner");
	pty_resize(master, rows ? rows : PTY_ROWS, cols ? cols : PTY_COLS);
	*ret_master = steal_fd(&master);
	*ret_slave = steal_fd(&slave);
	return 0;
}

void pty_resize(int master, uint32_t rows, uint32_t cols)
{
	struct winsize ws = { 0 };

	if (master < 0 || !rows || !cols)
		return;
	ws.ws_row = (unsigned short)(rows < GUEST_WINSIZE_MAX ? rows : GUEST_WINSIZE_MAX);
	ws.ws_col = (unsigned short)(cols < GUEST_WINSIZE_MAX ? cols : GUEST_WINSIZE_MAX);
	(void)ioctl(master, TIOCSWINSZ, &ws);
}

int pty_size_decode(const uint8_t *payload, size_t len, uint32_t *ret_rows, uint32_t *ret_cols)
{
	uint32_t rows = 0;
	uint32_t cols = 0;
	struct guest_value v;
	size_t pos = 0;
	int r;

	while ((r = guest_field_next(payload, len, &pos, &v)) > 0) {
		if (v.field == GUEST_F_ROWS && guest_value_u32(&v, &rows) < 0)
			return -EPROTO;
		if (v.field == GUEST_F_COLS && guest_value_u32(&v, &cols) < 0)
			return -EPROTO;
	}
	if (r < 0)
		return r;
	*ret_rows = rows;
	*ret_cols = cols;
	return 0;
}
