#pragma once

/* "TERM", "SIGTERM", "sigterm" or "15": the number, 1 to 64; -EINVAL for what is none. */
int signame_parse(const char *text);
