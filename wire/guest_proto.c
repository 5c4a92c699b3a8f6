#include <wire/guest_proto.h>
