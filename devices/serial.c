#include <devices/serial.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/serial_reg.h>

#include <base/cleanup.h>

#include "serial_log.h"

/*
 * National Semiconductor PC16550D data sheet; the probing that must succeed
 * is Linux, drivers/tty/serial/8250/8250_port.c (autoconfig, do_startup).
 */
#define RX_FIFO     16u
#define IER_VALID   0x0fu
#define MCR_VALID   0x1fu
#define MSR_QUIET   (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)
#define LSR_TX_IDLE (UART_LSR_TEMT | UART_LSR_THRE)

struct serial {
	pthread_mutex_t lock;
	int irq_fd;
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	bool fifo;
	bool thr_pending; /* "transmitter empty" has not been told yet */
	bool overrun;
	/* The receiver: fed by loopback only. */
	uint8_t rx[RX_FIFO];
	unsigned rx_len;
	struct serial_log log;
};

int serial_new(struct serial **ret, const struct serial_config *cfg, struct kerr *e)
{
	struct serial *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return kerr_errno(e, ENOMEM, "serial port");
	s->irq_fd = cfg->irq_fd;
	r = serial_log_init(&s->log, cfg->out_fd, cfg->max_bytes);
	if (r < 0) {
		free(s);
		return kerr_errno(e, -r, "serial port: console log");
	}
	(void)pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

void serial_free(struct serial *s)
{
	if (!s)
		return;
	serial_log_done(&s->log);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

/* The interrupt that is due, highest priority first (data sheet, table IV). */
static uint8_t interrupt_id(const struct serial *s)
{
	if ((s->ier & UART_IER_RLSI) && s->overrun)
		return UART_IIR_RLSI;
	if ((s->ier & UART_IER_RDI) && s->rx_len)
		return UART_IIR_RDI;
	if ((s->ier & UART_IER_THRI) && s->thr_pending)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

/* An edge for each new event; the driver's handler asks IIR until it says none. */
static void raise_irq(const struct serial *s)
{
	uint64_t one = 1;
	ssize_t n;

	if (s->irq_fd < 0 || interrupt_id(s) == UART_IIR_NO_INT)
		return;
	n = write(s->irq_fd, &one, sizeof(one));
	(void)n; /* full: raised already */
}

static bool divisor_latch(const struct serial *s)
{
	return s->lcr & UART_LCR_DLAB;
}

static void receive(struct serial *s, uint8_t value)
{
	if (s->rx_len == (s->fifo ? RX_FIFO : 1)) {
		s->overrun = true;
		return;
	}
	s->rx[s->rx_len++] = value;
}

static uint8_t read_rx(struct serial *s)
{
	uint8_t value = s->rx[0];

	if (!s->rx_len)
		return 0;
	s->rx_len--;
	for (unsigned i = 0; i < s->rx_len; i++)
		s->rx[i] = s->rx[i + 1];
	return value;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t id = interrupt_id(s);

	/* Reading clears this one source. */
	if (id == UART_IIR_THRI)
		s->thr_pending = false;
	return (uint8_t)(id | (s->fifo ? 0xc0 : 0));
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t value = LSR_TX_IDLE;

	if (s->rx_len)
		value |= UART_LSR_DR;
	if (s->overrun)
		value |= UART_LSR_OE;
	s->overrun = false;
	return value;
}

static uint8_t read_msr(const struct serial *s)
{
	uint8_t value = 0;

	if (!(s->mcr & UART_MCR_LOOP))
		return MSR_QUIET;
	if (s->mcr & UART_MCR_DTR)
		value |= UART_MSR_DSR;
	if (s->mcr & UART_MCR_RTS)
		value |= UART_MSR_CTS;
	if (s->mcr & UART_MCR_OUT1)
		value |= UART_MSR_RI;
	if (s->mcr & UART_MCR_OUT2)
		value |= UART_MSR_DCD;
	return value;
}

uint8_t serial_read(struct serial *s, uint16_t reg)
{
	uint8_t value = 0;

	(void)pthread_mutex_lock(&s->lock);
	switch (reg) {
	case UART_RX: /* and DLL */
		value = divisor_latch(s) ? s->dll : read_rx(s);
		break;
	case UART_IER: /* and DLM */
		value = divisor_latch(s) ? s->dlm : s->ier;
		break;
	case UART_IIR:
		value = read_iir(s);
		break;
	case UART_LCR:
		value = s->lcr;
		break;
	case UART_MCR:
		value = s->mcr;
		break;
	case UART_LSR:
		value = read_lsr(s);
		break;
	case UART_MSR:
		value = read_msr(s);
		break;
	case UART_SCR:
		value = s->scr;
		break;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return value;
}

/* The line is infinitely fast: the register is empty again at once. */
static void transmit(struct serial *s, uint8_t value)
{
	if (s->mcr & UART_MCR_LOOP)
		receive(s, value);
	else
		serial_log_put(&s->log, (char)value);
	s->thr_pending = true;
	raise_irq(s);
}

static void write_ier(struct serial *s, uint8_t value)
{
	uint8_t enabled = value & ~s->ier & IER_VALID;

	s->ier = value & IER_VALID;
	/* Enabling it while the transmitter is empty raises it; Linux tests for that. */
	if (enabled & UART_IER_THRI)
		s->thr_pending = true;
	if (enabled)
		raise_irq(s);
}

static void write_fcr(struct serial *s, uint8_t value)
{
	bool fifo = value & UART_FCR_ENABLE_FIFO;

	if (fifo != s->fifo || (value & UART_FCR_CLEAR_RCVR))
		s->rx_len = 0;
	s->fifo = fifo;
}

void serial_write(struct serial *s, uint16_t reg, uint8_t value)
{
	(void)pthread_mutex_lock(&s->lock);
	switch (reg) {
	case UART_TX: /* and DLL */
		if (divisor_latch(s))
			s->dll = value;
		else
			transmit(s, value);
		break;
	case UART_IER: /* and DLM */
		if (divisor_latch(s))
			s->dlm = value;
		else
			write_ier(s, value);
		break;
	case UART_FCR:
		write_fcr(s, value);
		break;
	case UART_LCR:
		s->lcr = value;
		break;
	case UART_MCR:
		s->mcr = value & MCR_VALID;
		break;
	case UART_SCR:
		s->scr = value;
		break;
	}
	(void)pthread_mutex_unlock(&s->lock);
}

size_t serial_tail(struct serial *s, char *buf, size_t len)
{
	size_t n;

	(void)pthread_mutex_lock(&s->lock);
	n = serial_log_tail(&s->log, buf, len);
	(void)pthread_mutex_unlock(&s->lock);
	return n;
}
