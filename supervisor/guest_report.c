#include "guest_report.h"

#include <wire/guest_proto.h>

/* It ends up in logs and on terminals: printable ASCII only. */
static void take_text(struct guest_report *ret, const struct guest_value *v)
{
	size_t n = v->len < sizeof(ret->text) - 1 ? v->len : sizeof(ret->text) - 1;

	for (size_t i = 0; i < n; i++)
		ret->text[i] = v->data[i] >= 0x20 && v->data[i] <= 0x7e ? (char)v->data[i] : '?';
	ret->text[n] = '\0';
}

int guest_report_read(struct guest_report *ret, const uint8_t *payload, size_t len)
{
	struct guest_value v;
	size_t pos = 0;
	int r;

	*ret = (struct guest_report){ 0 };
	while ((r = guest_field_next(payload, len, &pos, &v)) == 1) {
		if (v.field == GUEST_F_CODE) {
			ret->has_code = true;
			r = guest_value_u32(&v, &ret->code);
		} else if (v.field == GUEST_F_SIGNAL) {
			ret->has_signal = true;
			r = guest_value_u32(&v, &ret->signal);
		} else if (v.field == GUEST_F_PROTO_VERSION) {
			ret->has_version = true;
			r = guest_value_u32(&v, &ret->version);
		} else if (v.field == GUEST_F_PHASE) {
			r = guest_value_u32(&v, &ret->phase);
		} else if (v.field == GUEST_F_TEXT) {
			take_text(ret, &v);
		}
		if (r < 0)
			return r;
	}
	return r;
}

bool guest_report_is_end(const struct guest_report *rep)
{
	return rep->has_code != rep->has_signal && rep->code <= 255 && rep->signal <= 64;
}
