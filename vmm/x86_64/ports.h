#pragma once

#include <base/kerr.h>
#include <devices/serial.h>

#include "bus.h"
#include "ending.h"

/*
 * I/O ports: COM1, the sleep and reset registers of the ACPI tables, the
 * keyboard controller's reset line, and the clock's ports, which answer 0
 * (a stock kernel waits for seconds on all ones). Whatever else a guest
 * reads is all ones.
 */
int ports_add(struct bus *ports, struct serial *serial, struct ending *ending, struct kerr *e);
