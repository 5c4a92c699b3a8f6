#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "verbs.h"

/* Both scripts are made from the table of verbs: what it has, they know. */

static const char *const word_names[] = {
	[WORDS_NONE] = "none",
	[WORDS_FILES] = "files",
	[WORDS_AGENTS] = "agents",
	[WORDS_IMAGES] = "images",
	[WORDS_KEYS] = "keys",
	[WORDS_VERBS] = "verbs",
	[WORDS_AGENT_PATHS] = "paths",
	[WORDS_SHELLS] = "shells",
};

static const char bash_end[] =
	"\tif [[ $cur == -* ]]; then\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tcase $words in\n"
	"\tfiles) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	"\tagents) list=$(KOSVM_NO_START=1 kosvm ps -aq 2>/dev/null) ;;\n"
	"\tpaths) compopt -o filenames -o nospace 2>/dev/null\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
	"\t\tlist=$(KOSVM_NO_START=1 kosvm ps -aq 2>/dev/null | sed 's/$/:/') ;;\n"
	"\timages) list=$(KOSVM_NO_START=1 kosvm image ls -q 2>/dev/null) ;;\n"
	"\tkeys) list=$(KOSVM_NO_START=1 kosvm key ls 2>/dev/null | sed '1d;s/ .*//') ;;\n"
	"\tshells) list='bash zsh' ;;\n"
	"\tverbs) list=$verbs ;;\n"
	"\tsubs) list=$subs ;;\n"
	"\tesac\n"
	"\tif [[ -n $list ]]; then\n"
	"\t\tlocal found\n"
	"\t\tmapfile -t found < <(compgen -W \"$list\" -- \"$cur\")\n"
	"\t\tCOMPREPLY+=(\"${found[@]}\")\n"
	"\tfi\n"
	"}\n"
	"complete -F _kosvm kosvm\n";

static const char zsh_end[] =
	"\tif [[ $PREFIX == -* ]]; then\n"
	"\t\t_describe option options\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tcase $what in\n"
	"\tfiles) _files ;;\n"
	"\tagents) compadd -- ${(f)\"$(KOSVM_NO_START=1 kosvm ps -aq 2>/dev/null)\"} ;;\n"
	"\tpaths) _files; compadd -S : -- ${(f)\"$(KOSVM_NO_START=1 kosvm ps -aq 2>/dev/null)\"} ;;\n"
	"\timages) compadd -- ${(f)\"$(KOSVM_NO_START=1 kosvm image ls -q 2>/dev/null)\"} ;;\n"
	"\tkeys) compadd -- ${(f)\"$(KOSVM_NO_START=1 kosvm key ls 2>/dev/null | sed '1d;s/ .*//')\"} ;;\n"
	"\tshells) compadd bash zsh ;;\n"
	"\tverbs) _describe verb verbs ;;\n"
	"\tsubs) _describe word subs ;;\n"
	"\tesac\n"
	"}\n"
	"_kosvm \"$@\"\n";

static const char *last_word(const struct cmd *c)
{
	const char *space = strrchr(c->name, ' ');

	return space ? space + 1 : c->name;
}

/* "'word:what it does' ", with what zsh takes apart made harmless. */
static void print_described(const char *dashes, const char *word, const char *text)
{
	(void)printf(" '%s%s:", dashes, word);
	for (; *text; text++) {
		if (*text == '\'')
			(void)fputs("'\\''", stdout);
		else if (*text == ':')
			(void)fputs("\\:", stdout);
		else
			(void)putchar(*text);
	}
	(void)putchar('\'');
}

static void bash_case(const struct cmd *c)
{
	(void)printf("\t'%s') options='-h --help", c->name);
	for (const struct opt *o = c->opts; o && o->name; o++) {
		(void)printf(" --%s", o->name);
		if (o->key < OPT_LONG)
			(void)printf(" -%c", o->key);
	}
	(void)printf("' words=%s", c->subs ? "subs" : word_names[c->words]);
	if (c->subs) {
		(void)printf(" subs='");
		for (const struct cmd *const *s = c->subs; *s; s++)
			(void)printf("%s%s", s == c->subs ? "" : " ", last_word(*s));
		(void)putchar('\'');
	}
	(void)puts(" ;;");
}

static void zsh_case(const struct cmd *c)
{
	(void)printf("\t'%s') what=%s\n\t\toptions=('--help:say how it is used'", c->name,
		c->subs ? "subs" : word_names[c->words]);
	for (const struct opt *o = c->opts; o && o->name; o++) {
		const char letter[2] = { (char)o->key, '\0' };

		print_described("--", o->name, o->text);
		if (o->key < OPT_LONG)
			print_described("-", letter, o->text);
	}
	(void)putchar(')');
	if (c->subs) {
		(void)printf("\n\t\tsubs=(");
		for (const struct cmd *const *s = c->subs; *s; s++)
			print_described("", last_word(*s), (*s)->summary);
		(void)putchar(')');
	}
	(void)puts(" ;;");
}

static void each_cmd(void (*fn)(const struct cmd *c))
{
	for (const struct cmd *const *c = cli_cmds; *c; c++) {
		fn(*c);
		for (const struct cmd *const *s = (*c)->subs; s && *s; s++)
			fn(*s);
	}
}

static void print_two_word_verbs(void)
{
	const char *bar = "";

	for (const struct cmd *const *c = cli_cmds; *c; c++) {
		if (!(*c)->subs)
			continue;
		(void)printf("%s%s", bar, (*c)->name);
		bar = "|";
	}
}

static void print_bash(void)
{
	(void)puts(
		"# bash completion for kosvm, made by `kosvm completion bash`.\n"
		"_kosvm() {\n"
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} options= words= subs= list=");
	(void)printf("\tlocal verbs='");
	for (const struct cmd *const *c = cli_cmds; *c; c++)
		(void)printf("%s%s", c == cli_cmds ? "" : " ", (*c)->name);
	(void)puts(
		"'\n\tCOMPREPLY=()\n"
		"\tif [[ $COMP_CWORD -eq 1 ]]; then\n"
		"\t\tmapfile -t COMPREPLY < <(compgen -W \"$verbs --help --version\" -- \"$cur\")\n"
		"\t\treturn\n\tfi");
	(void)printf("\tif [[ $COMP_CWORD -gt 2 && $verb =~ ^(");
	print_two_word_verbs();
	(void)puts(")$ ]]; then\n"
		   "\t\tverb+=\" ${COMP_WORDS[2]}\"\n\tfi\n"
		   "\tcase $verb in");
	each_cmd(bash_case);
	(void)puts("\tesac");
	(void)fputs(bash_end, stdout);
}

static void print_zsh(void)
{
	(void)puts("#compdef kosvm\n# zsh completion for kosvm, made by `kosvm completion zsh`.\n"
		   "_kosvm() {\n"
		   "\tlocal -a verbs options subs\n\tlocal what=none verb=$words[2]");
	(void)printf("\tverbs=(");
	for (const struct cmd *const *c = cli_cmds; *c; c++)
		print_described("", (*c)->name, (*c)->summary);
	(void)printf(
		")\n\tif (( CURRENT == 2 )); then\n\t\t_describe verb verbs\n\t\treturn\n\tfi\n"
		"\tif (( CURRENT > 3 )) && [[ $verb == (");
	print_two_word_verbs();
	(void)puts(") ]]; then\n"
		   "\t\tverb+=\" $words[3]\"\n\tfi\n"
		   "\tcase $verb in");
	each_cmd(zsh_case);
	(void)puts("\tesac");
	(void)fputs(zsh_end, stdout);
}

static int completion(const struct cmd *c, int argc, char **argv)
{
	int r = cli_no_options(c, argc, argv);

	if (r >= 0)
		return r;
	if (argc - optind != 1)
		return cli_usage(c, "expected bash or zsh");
	if (strcmp(argv[optind], "bash") == 0)
		print_bash();
	else if (strcmp(argv[optind], "zsh") == 0)
		print_zsh();
	else
		return cli_usage(c, "%s: expected bash or zsh", argv[optind]);
	return 0;
}

const struct cmd cmd_completion = {
	.name = "completion",
	.args = "bash|zsh",
	.summary = "print a script that completes kosvm's words",
	.more = "An installed kosvm has put it where the shells look. Elsewhere:\n"
		"source <(kosvm completion bash), or into a directory of zsh's fpath as _kosvm.\n",
	.fn = completion,
	.words = WORDS_SHELLS,
};
