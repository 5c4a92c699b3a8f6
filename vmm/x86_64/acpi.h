#pragma once

#include <devices/gmem.h>
#include <wire/board.h>

#define ACPI_BASE 0xe0000ULL
#define ACPI_END  0xffff0ULL /* the reset vector follows */

/* Ports of the hardware-reduced power block (ACPI 6.5, 4.8.3.7) and COM1. */
#define ACPI_PORT_SLEEP_CONTROL 0x600u
#define ACPI_PORT_SLEEP_STATUS  0x601u
#define ACPI_PORT_RESET         0x602u
#define ACPI_SLEEP_S5           0x34u /* SLP_TYP 5 << 2 | SLP_EN */
#define ACPI_RESET_VALUE        0x01u

/*
 * Writes RSDP (at ACPI_BASE), XSDT, FADT (hardware-reduced), MADT and DSDT
 * for the board: every virtio slot as LNRO0005, COM1 as PNP0501, a power
 * button is not there. -ENOSPC when they do not fit below ACPI_END.
 */
int acpi_write_tables(const struct gmem *m, const struct board *b, struct kerr *e);
