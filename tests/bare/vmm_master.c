/* A VMM that is left by its kosvmd and taken over by the next. */
#include "vmm_run.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <base/cleanup.h>

void vmm_run_detachable(struct vmm_run *v)
{
	static const struct vmm_msg_ended nothing;
	sa_family_t nowhere = AF_UNIX;

	memset(v->board.boot_id, 0xb0, sizeof(v->board.boot_id));
	v->door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(v->door, 0);
	/* Any free abstract address, unix(7). */
	ck_assert_int_eq(bind(v->door, (struct sockaddr *)&nowhere, sizeof(nowhere)), 0);
	ck_assert_int_eq(listen(v->door, 16), 0);
	v->ended = memfd_create("ended", MFD_CLOEXEC);
	ck_assert_int_eq(write(v->ended, &nothing, sizeof(nothing)), sizeof(nothing));
	v->board.listen_fd = vmm_run_add_fd(v, fcntl(v->door, F_DUPFD_CLOEXEC, 0));
	v->board.end_fd = vmm_run_add_fd(v, fcntl(v->ended, F_DUPFD_CLOEXEC, 0));
}

void vmm_run_leave(struct vmm_run *v)
{
	close_fd(&v->sock);
}

int vmm_run_knock(struct vmm_run *v)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa;
	socklen_t len = sizeof(sa);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(getsockname(v->door, (struct sockaddr *)&sa, &len), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

uint32_t vmm_run_attach(struct vmm_run *v)
{
	struct vmm_msg_attach m;
	struct vmm_msg msg;

	vmm_run_leave(v);
	v->sock = vmm_run_knock(v);
	memcpy(m.boot_id, v->board.boot_id, sizeof(m.boot_id));
	ck_assert_int_eq(vmm_proto_send(v->sock, VMM_MSG_ATTACH, &m, sizeof(m), NULL, 0), 0);
	vmm_run_expect(v, VMM_MSG_ATTACHED, &msg);
	return msg.u.attached.flags;
}

struct vmm_reply vmm_run_request(struct vmm_run *v, enum vmm_msg_type type)
{
	static uint64_t id;
	struct vmm_msg_id m;
	struct vmm_msg msg;

	id++;
	m = (struct vmm_msg_id){ .id = id };

	ck_assert_int_eq(vmm_proto_send(v->sock, type, &m, sizeof(m), NULL, 0), 0);
	vmm_run_expect(v, VMM_MSG_REPLY, &msg);
	ck_assert_uint_eq(msg.u.reply.id, id);
	ck_assert_int_eq(msg.u.reply.result, 0);
	return msg.u.reply;
}

void vmm_run_expect_record(struct vmm_run *v, unsigned reason, const char *text)
{
	struct vmm_msg_ended m;

	ck_assert_int_eq(pread(v->ended, &m, sizeof(m), 0), sizeof(m));
	ck_assert_uint_eq(m.reason, reason);
	if (reason != 0)
		ck_assert(vmm_msg_ended_valid(&m));
	ck_assert_msg(strstr(m.text, text) != NULL, "the record says: %s", m.text);
}
