#include "ports.h"

#include <string.h>

#include <base/cleanup.h>

#include "acpi.h"

#define PORT_RTC           0x70
#define PORT_RTC_LEN       2
#define PORT_I8042_COMMAND 0x64
#define I8042_PULSE_RESET  0xfe
#define PORT_COM1          0x3f8
#define PORT_COM1_LEN      8
#define ACPI_PORTS_LEN     (ACPI_PORT_RESET - ACPI_PORT_SLEEP_CONTROL + 1)

/* Every access here is one byte wide: the vCPU splits wider ones. */
static void serial_in(void *user, uint64_t offset, void *buf, uint32_t len)
{
	(void)len;
	*(uint8_t *)buf = serial_read(user, (uint16_t)offset);
}

static void serial_out(void *user, uint64_t offset, const void *buf, uint32_t len)
{
	(void)len;
	serial_write(user, (uint16_t)offset, *(const uint8_t *)buf);
}

static void zero_in(void *user, uint64_t offset, void *buf, uint32_t len)
{
	(void)user;
	(void)offset;
	memset(buf, 0, len);
}

static void i8042_out(void *user, uint64_t offset, const void *buf, uint32_t len)
{
	(void)offset;
	(void)len;
	if (*(const uint8_t *)buf == I8042_PULSE_RESET)
		ending_report(user, VMM_END_RESET, "reset by the keyboard controller");
}

static void acpi_out(void *user, uint64_t offset, const void *buf, uint32_t len)
{
	uint8_t value = *(const uint8_t *)buf;

	(void)len;
	if (offset == 0 && value == ACPI_SLEEP_S5)
		ending_report(user, VMM_END_POWEROFF, "powered off");
	else if (offset == ACPI_PORT_RESET - ACPI_PORT_SLEEP_CONTROL && value == ACPI_RESET_VALUE)
		ending_report(user, VMM_END_RESET, "reset");
}

int ports_add(struct bus *ports, struct serial *serial, struct ending *ending, struct kerr *e)
{
	const struct bus_window windows[] = {
		{ .base = PORT_COM1,
			.len = PORT_COM1_LEN,
			.user = serial,
			.read = serial_in,
			.write = serial_out },
		{ .base = PORT_RTC, .len = PORT_RTC_LEN, .read = zero_in },
		{ .base = PORT_I8042_COMMAND, .len = 1, .user = ending, .write = i8042_out },
		{ .base = ACPI_PORT_SLEEP_CONTROL,
			.len = ACPI_PORTS_LEN,
			.user = ending,
			.read = zero_in,
			.write = acpi_out },
	};

	for (size_t i = 0; i < array_size(windows); i++) {
		int r = bus_add(ports, &windows[i]);

		if (r < 0)
			return kerr_errno(e, -r, "I/O port 0x%x", (unsigned)windows[i].base);
	}
	return 0;
}
