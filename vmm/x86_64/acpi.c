#include "acpi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aml.h"

#define LAPIC_ADDR  0xfee00000u
#define IOAPIC_ADDR 0xfec00000u
#define COM1_PORT   0x3f8
#define COM1_GSI    4

/* ACPI 6.5, 5.2.6 */
struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

/* 5.2.3.2 */
struct address {
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
} __attribute__((packed));

/* 5.2.5.3 */
struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt_address, length;
	uint64_t xsdt_address;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

struct xsdt {
	struct header h;
	uint64_t entry[2];
} __attribute__((packed));

/* 5.2.9; what a hardware-reduced machine must ignore has no name here. */
struct fadt {
	struct header h;
	uint32_t firmware_ctrl, dsdt;
	uint8_t reserved, preferred_pm_profile;
	uint8_t unused_sci_to_century[63];
	uint16_t iapc_boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct address reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl, x_dsdt;
	struct address unused_blocks[8];
	struct address sleep_control, sleep_status;
	uint64_t hypervisor_vendor;
} __attribute__((packed));

#define FADT_WBINVD             (1u << 0)
#define FADT_PWR_BUTTON         (1u << 4) /* no fixed power button */
#define FADT_SLP_BUTTON         (1u << 5) /* no fixed sleep button */
#define FADT_RESET_REG          (1u << 10)
#define FADT_HW_REDUCED         (1u << 20)
#define FADT_BOOT_NO_VGA        (1u << 2)
#define FADT_BOOT_NO_CMOS_RTC   (1u << 5) /* and bit 1 clear: no 8042 */
#define FADT_PROFILE_ENTERPRISE 4

/* 5.2.12 */
struct madt {
	struct header h;
	uint32_t lapic_address, flags;
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length, processor_uid, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

struct madt_lapic_nmi {
	uint8_t type, length, processor_uid;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

_Static_assert(sizeof(struct header) == 36, "ACPI 5.2.6");
_Static_assert(sizeof(struct rsdp) == 36, "ACPI 5.2.5.3");
_Static_assert(sizeof(struct fadt) == 276, "ACPI 5.2.9");
_Static_assert(__builtin_offsetof(struct fadt, flags) == 112, "ACPI 5.2.9");
_Static_assert(__builtin_offsetof(struct fadt, sleep_control) == 244, "ACPI 5.2.9");
_Static_assert(sizeof(struct madt) == 44, "ACPI 5.2.12");

/* Tables are built here and copied to the guest in one piece. */
struct tables {
	uint8_t buf[8192];
	size_t len;
};

static uint8_t checksum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + b[i]);
	return (uint8_t)-sum;
}

static void start(struct header *h, const char *signature, uint8_t revision)
{
	memcpy(h->signature, signature, 4);
	h->revision = revision;
	memcpy(h->oem_id, "KOSVM ", 6);
	memcpy(h->oem_table_id, "KOSVM   ", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "KOSV", 4);
	h->creator_revision = 1;
}

static void finish(struct header *h, size_t len)
{
	h->length = (uint32_t)len;
	h->checksum = 0;
	h->checksum = checksum(h, len);
}

/* Room for a table behind the ones before; NULL when there is none. */
static void *reserve(struct tables *t, size_t len, gpa_t *ret_at)
{
	size_t at = (t->len + 15) & ~(size_t)15;

	if (len > sizeof(t->buf) - at)
		return NULL;
	t->len = at + len;
	*ret_at = ACPI_BASE + at;
	return t->buf + at;
}

static void describe_com1(struct aml *a)
{
	size_t device = aml_open_device(a, "COM1"), crs;

	aml_name(a, "_HID");
	aml_eisa_id(a, "PNP0501");
	aml_name(a, "_UID");
	aml_integer(a, 0);
	aml_name(a, "_CRS");
	crs = aml_open_resources(a);
	aml_io(a, COM1_PORT, 8);
	aml_interrupt(a, COM1_GSI);
	aml_close_resources(a, crs);
	aml_close(a, device);
}

static void describe_slot(struct aml *a, unsigned index, const struct board_slot *slot)
{
	char name[5];
	size_t device, crs;

	(void)snprintf(name, sizeof(name), "V%03u", index % 1000);
	device = aml_open_device(a, name);
	aml_name(a, "_HID");
	aml_string(a, "LNRO0005");
	aml_name(a, "_UID");
	aml_integer(a, index);
	aml_name(a, "_CCA");
	aml_integer(a, 1);
	aml_name(a, "_CRS");
	crs = aml_open_resources(a);
	aml_memory32(a, (uint32_t)slot->mmio, (uint32_t)BOARD_MMIO_SLOT_SIZE);
	aml_interrupt(a, slot->gsi);
	aml_close_resources(a, crs);
	aml_close(a, device);
}

static int write_dsdt(struct tables *t, const struct board *b, gpa_t *ret_at)
{
	struct header *h = reserve(t, sizeof(*h), ret_at);
	struct aml a;
	size_t mark;

	if (!h)
		return -ENOSPC;
	start(h, "DSDT", 2); /* 2: 64-bit integers */
	a = (struct aml){ .buf = t->buf + t->len, .cap = sizeof(t->buf) - t->len };
	mark = aml_open_scope(&a, "\\_SB");
	describe_com1(&a);
	for (unsigned i = 0; i < b->slot_count; i++)
		describe_slot(&a, i, &b->slots[i]);
	aml_close(&a, mark);
	aml_name(&a, "_S5"); /* SLP_TYP of soft off (7.4.2.6) */
	mark = aml_open_package(&a, 4);
	aml_integer(&a, ACPI_SLEEP_S5 >> 2 & 7);
	for (unsigned i = 0; i < 3; i++)
		aml_integer(&a, 0);
	aml_close(&a, mark);
	if (a.full)
		return -ENOSPC;
	t->len += a.len;
	finish(h, sizeof(*h) + a.len);
	return 0;
}

static struct address port(uint16_t number)
{
	return (struct address){ .space = 1, .bit_width = 8, .access_size = 1, .address = number };
}

static int write_fadt(struct tables *t, gpa_t dsdt, gpa_t *ret_at)
{
	struct fadt *f = reserve(t, sizeof(*f), ret_at);

	if (!f)
		return -ENOSPC;
	start(&f->h, "FACP", 6);
	f->minor_version = 5;
	f->preferred_pm_profile = FADT_PROFILE_ENTERPRISE;
	f->iapc_boot_arch = FADT_BOOT_NO_VGA | FADT_BOOT_NO_CMOS_RTC;
	f->flags =
		FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET_REG | FADT_HW_REDUCED;
	f->reset_reg = port(ACPI_PORT_RESET);
	f->reset_value = ACPI_RESET_VALUE;
	f->x_dsdt = dsdt;
	f->sleep_control = port(ACPI_PORT_SLEEP_CONTROL);
	f->sleep_status = port(ACPI_PORT_SLEEP_STATUS);
	memcpy(&f->hypervisor_vendor, "KVMKVMKV", sizeof(f->hypervisor_vendor));
	finish(&f->h, sizeof(*f));
	return 0;
}

static int write_madt(struct tables *t, const struct board *b, gpa_t *ret_at)
{
	size_t len = sizeof(struct madt) + b->vcpus * sizeof(struct madt_lapic) +
		sizeof(struct madt_ioapic) + sizeof(struct madt_lapic_nmi);
	struct madt *m = reserve(t, len, ret_at);
	struct madt_lapic *lapic;
	struct madt_ioapic *ioapic;
	struct madt_lapic_nmi *nmi;

	if (!m)
		return -ENOSPC;
	start(&m->h, "APIC", 6);
	m->lapic_address = LAPIC_ADDR;
	lapic = (void *)(m + 1);
	for (unsigned i = 0; i < b->vcpus; i++)
		*lapic++ = (struct madt_lapic){ .type = 0,
			.length = sizeof(*lapic),
			.processor_uid = (uint8_t)i,
			.apic_id = (uint8_t)i,
			.flags = 1 };
	ioapic = (void *)lapic;
	*ioapic = (struct madt_ioapic){
		.type = 1, .length = sizeof(*ioapic), .address = IOAPIC_ADDR
	};
	nmi = (void *)(ioapic + 1);
	*nmi = (struct madt_lapic_nmi){ .type = 4,
		.length = sizeof(*nmi),
		.processor_uid = 0xff, /* every processor */
		.lint = 1 };
	finish(&m->h, len);
	return 0;
}

static void write_rsdp(struct rsdp *r, gpa_t xsdt)
{
	memcpy(r->signature, "RSD PTR ", 8);
	memcpy(r->oem_id, "KOSVM ", 6);
	r->revision = 2;
	r->length = sizeof(*r);
	r->xsdt_address = xsdt;
	r->checksum = checksum(r, 20); /* the part ACPI 1.0 knew */
	r->extended_checksum = checksum(r, sizeof(*r));
}

int acpi_write_tables(const struct gmem *m, const struct board *b, struct kerr *e)
{
	struct tables t = { 0 };
	struct rsdp *rsdp;
	struct xsdt *xsdt;
	gpa_t at, xsdt_at, dsdt, fadt, madt;

	_Static_assert(sizeof(t.buf) <= ACPI_END - ACPI_BASE, "ACPI area");
	rsdp = reserve(&t, sizeof(*rsdp), &at);
	xsdt = reserve(&t, sizeof(*xsdt), &xsdt_at);
	if (!rsdp || !xsdt || b->vcpus > BOARD_MAX_VCPUS || b->slot_count > BOARD_MAX_SLOTS ||
		write_dsdt(&t, b, &dsdt) < 0 || write_fadt(&t, dsdt, &fadt) < 0 ||
		write_madt(&t, b, &madt) < 0)
		return kerr_set(e, ENOSPC, "ACPI tables for %u vCPUs and %u slots do not fit",
			b->vcpus, b->slot_count);
	start(&xsdt->h, "XSDT", 1);
	xsdt->entry[0] = fadt;
	xsdt->entry[1] = madt;
	finish(&xsdt->h, sizeof(*xsdt));
	write_rsdp(rsdp, xsdt_at);
	if (gmem_write(m, ACPI_BASE, t.buf, t.len) < 0)
		return kerr_set(e, ENOSPC, "guest memory is too small for the ACPI tables");
	return 0;
}
