#include <wire/board.h>
