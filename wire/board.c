#include <wire/board.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <libfdt.h>

#include "board_names.h"

const char *const board_device_names[] = {
	[BOARD_BLK] = "blk",
	[BOARD_VSOCK] = "vsock",
	[BOARD_RNG] = "rng",
};

struct board_slot *board_add_slot(struct board *b, enum board_device device)
{
	struct board_slot *s;

	if (b->slot_count >= BOARD_MAX_SLOTS)
		return NULL;
	s = &b->slots[b->slot_count];
	*s = (struct board_slot){
		.device = device,
		.mmio = BOARD_MMIO_BASE + b->slot_count * BOARD_MMIO_SLOT_SIZE,
		.gsi = BOARD_GSI_FIRST + b->slot_count,
		.fd = BOARD_NO_FD,
	};
	b->slot_count++;
	return s;
}

bool board_has_boot_id(const struct board *b)
{
	static const uint8_t none[BOARD_BOOT_ID_LEN];

	return memcmp(b->boot_id, none, sizeof(none)) != 0;
}

/* The sequential-write calls of libfdt; the first error stays and stops the rest. */
struct writer {
	void *fdt;
	int err;
};

static void begin(struct writer *w, const char *name)
{
	if (w->err == 0)
		w->err = fdt_begin_node(w->fdt, name);
}

static void end(struct writer *w)
{
	if (w->err == 0)
		w->err = fdt_end_node(w->fdt);
}

static void put_u32(struct writer *w, const char *name, uint32_t v)
{
	if (w->err == 0)
		w->err = fdt_property_u32(w->fdt, name, v);
}

static void put_u64(struct writer *w, const char *name, uint64_t v)
{
	if (w->err == 0)
		w->err = fdt_property_u64(w->fdt, name, v);
}

static void put_string(struct writer *w, const char *name, const char *v)
{
	if (w->err == 0)
		w->err = fdt_property(w->fdt, name, v, (int)strlen(v) + 1);
}

static void put_fd(struct writer *w, const char *name, int fd)
{
	if (fd != BOARD_NO_FD)
		put_u32(w, name, (uint32_t)fd);
}

static void put_chosen(struct writer *w, const struct board *b)
{
	begin(w, "chosen");
	put_string(w, "bootargs", b->cmdline);
	put_fd(w, "kosvm,kernel-fd", b->kernel_fd);
	put_u64(w, "kosvm,kernel-size", b->kernel_size);
	put_fd(w, "kosvm,initrd-fd", b->initrd_fd);
	if (b->initrd_fd != BOARD_NO_FD)
		put_u64(w, "kosvm,initrd-size", b->initrd_size);
	end(w);
}

static void put_kosvm(struct writer *w, const struct board *b)
{
	begin(w, "kosvm");
	put_fd(w, "kosvm,kvm-fd", b->kvm_fd);
	if (board_has_boot_id(b) && w->err == 0)
		w->err = fdt_property(w->fdt, "kosvm,boot-id", b->boot_id, sizeof(b->boot_id));
	put_fd(w, "kosvm,listen-fd", b->listen_fd);
	put_fd(w, "kosvm,end-fd", b->end_fd);
	if (b->confine)
		put_u32(w, "kosvm,confine", b->confine);
	end(w);
}

static void put_rate(struct writer *w, const char *name, uint64_t v)
{
	if (v)
		put_u64(w, name, v);
}

static void put_limits(struct writer *w, const struct board *b)
{
	const struct rate_limit *d = &b->disk_rate;
	const struct rate_limit *v = &b->vsock_rate;

	if (!d->bytes && !d->ops && !v->bytes)
		return;
	begin(w, "limits");
	put_rate(w, "kosvm,disk-bytes", d->bytes);
	put_rate(w, "kosvm,disk-ops", d->ops);
	put_rate(w, "kosvm,disk-burst", d->bytes ? d->burst : 0);
	put_rate(w, "kosvm,vsock-bytes", v->bytes);
	put_rate(w, "kosvm,vsock-burst", v->bytes ? v->burst : 0);
	end(w);
}

static void put_cpus(struct writer *w, uint32_t vcpus)
{
	char name[24];

	begin(w, "cpus");
	for (uint32_t i = 0; i < vcpus && w->err == 0; i++) {
		(void)snprintf(name, sizeof(name), "cpu@%x", i);
		begin(w, name);
		put_u32(w, "reg", i);
		end(w);
	}
	end(w);
}

static void put_slot(struct writer *w, const struct board_slot *s)
{
	fdt64_t reg[2] = { cpu_to_fdt64(s->mmio), cpu_to_fdt64(BOARD_MMIO_SLOT_SIZE) };
	char name[32];

	(void)snprintf(name, sizeof(name), "virtio@%llx", (unsigned long long)s->mmio);
	begin(w, name);
	put_string(w, "compatible", BOARD_COMPATIBLE_VIRTIO);
	if (w->err == 0)
		w->err = fdt_property(w->fdt, "reg", reg, sizeof(reg));
	put_u32(w, "interrupts", s->gsi);
	put_string(w, "kosvm,device", board_device_names[s->device]);
	if (s->device == BOARD_BLK) {
		put_fd(w, "kosvm,fd", s->fd);
		put_u64(w, "kosvm,size", s->size);
		put_string(w, "kosvm,serial", s->serial);
		if (s->read_only && w->err == 0)
			w->err = fdt_property(w->fdt, "read-only", NULL, 0);
	} else if (s->device == BOARD_VSOCK) {
		put_u64(w, "kosvm,cid", s->cid);
	}
	end(w);
}

int board_encode(const struct board *b, void *buf, size_t len, struct kerr *e)
{
	struct writer w = { .fdt = buf };

	if (len > BOARD_FDT_MAX)
		len = BOARD_FDT_MAX;
	w.err = fdt_create(buf, (int)len);
	if (w.err == 0)
		w.err = fdt_finish_reservemap(buf);
	begin(&w, "");
	put_string(&w, "compatible", BOARD_COMPATIBLE);
	put_chosen(&w, b);
	put_kosvm(&w, b);
	put_limits(&w, b);
	begin(&w, "memory");
	put_u64(&w, "reg", b->memory);
	end(&w);
	put_cpus(&w, b->vcpus);
	begin(&w, "serial");
	put_fd(&w, "kosvm,fd", b->serial_fd);
	put_u64(&w, "kosvm,limit", b->serial_limit);
	end(&w);
	for (unsigned i = 0; i < b->slot_count; i++)
		put_slot(&w, &b->slots[i]);
	end(&w);
	if (w.err == 0)
		w.err = fdt_finish(buf);
	if (w.err == -FDT_ERR_NOSPACE)
		return kerr_set(e, ENOSPC, "the board does not fit in %zu bytes", len);
	if (w.err != 0)
		return kerr_set(e, EINVAL, "the board cannot be written: %s", fdt_strerror(w.err));
	return (int)fdt_totalsize(buf);
}
