#include <wire/api_proto.h>
