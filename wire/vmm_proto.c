#include <wire/vmm_proto.h>
