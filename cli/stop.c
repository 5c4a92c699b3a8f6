#include <getopt.h>

#include <base/clock.h>
#include <base/units.h>

#include "names.h"

static const char help[] =
	"The agent gets SIGTERM, its state is synced and unmounted, and the VM switches\n"
	"itself off. What does not end in time is ended from outside.\n\n"
	"  -t, --timeout T   grace for the agent, such as 30s (default: the manifest's)\n"
	"      --kill        end the VM at once, as if the power went\n";

static uint64_t grace_ms;
static bool kill_now;

static json_t *make(void)
{
	return json_pack("{s:I, s:b}", "grace_ms", (json_int_t)grace_ms, "kill", kill_now);
}

int cmd_stop(int argc, char **argv)
{
	static const struct option options[] = {
		{ "timeout", required_argument, NULL, 't' },
		{ "kill", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	uint64_t ns = 0;
	int c;

	optind = 0; /* `run` calls this after its own options */
	while ((c = getopt_long(argc, argv, "+t:h", options, NULL)) != -1) {
		if (c == 't') {
			if (units_parse_duration(optarg, &ns) < 0 || ns > 86400 * CLOCK_NS_PER_S)
				return cli_usage("stop",
					"--timeout %s: expected a duration such as 30s", optarg);
			/* 0 would be the manifest's. */
			grace_ms = ns < CLOCK_NS_PER_MS ? 1 : ns / CLOCK_NS_PER_MS;
		} else if (c == 'k') {
			kill_now = true;
		} else if (c == 'h') {
			return cli_help("stop", help);
		} else {
			return cli_usage("stop", "see above");
		}
	}
	if (optind >= argc)
		return cli_usage("stop", "expected names of agents");
	return names_each("stop", "stop", argc - optind, argv + optind, make, names_print);
}
