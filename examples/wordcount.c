/* SPDX-License-Identifier: MIT */
/*
 * wordcount.c - count the lines, words and bytes of many files, on all processors.
 *
 *   wordcount [-b] [-j WORKERS] FILE-OR-DIRECTORY...
 *
 * Prints, to the byte, what `LC_ALL=C wc FILE...` of GNU prints.  A directory stands
 * for all files in it and below, sorted by their paths: regular files, and symbolic
 * links to such.  Symbolic links to directories are not followed.  Standard input is
 * not read: without a file there is a line of usage and exit status 2.
 *
 * A word is made of printing characters and ended by white space; other bytes neither
 * make nor end one, as in wc of Debian 12.  Newer versions of wc, and -b, let every
 * byte that is not white space make a word.
 *
 * Files are cut into pieces of some MiB, and mp_pool_map_async runs count_piece for
 * each of them in some worker.  The pool is made when all files are listed, so that
 * every worker has the list: a piece needs to name a file only by its number.  A word
 * that runs across the border of two pieces is counted in both; each piece tells how
 * it begins and ends, and add_piece corrects the sum.
 *
 * A file that cannot be read to its end, that becomes shorter while its pieces are
 * counted, or whose worker is killed has a line on standard error instead of one with
 * counts, and the exit status is 1; all others are counted.  If standard error is a
 * terminal, a bar shows there how far it is.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "example.h"

/* Large enough that a task costs little beside it, small enough to share out. */
#define PIECE_SIZE ((off_t)4 << 20)

/* An error number of our own, beyond those of the system. */
enum { BECAME_SHORTER = 100000 };

/* What a byte does to words. */
enum kind { NEUTRAL, MAKES_WORD, ENDS_WORD };

struct tally {
    uint64_t lines;
    uint64_t words;
    uint64_t bytes;
    enum kind first; /* of the first byte that is not neutral, or NEUTRAL */
    bool in_word;    /* at the end */
};

struct file {
    char *name;
    off_t size;   /* 0 unless it is a regular file */
    bool endless; /* a pipe or a device: there is no size to know */
    int error;    /* why it is not counted, or 0 */
    struct tally tally;
};

struct file_list {
    struct file *files;
    size_t count;
    size_t capacity;
};

struct piece {
    size_t file; /* its number in the list */
    off_t offset;
};

/* What every task is given.  It is older than the pool, so every worker has a copy. */
struct job {
    const struct file *files;
    _Atomic uint64_t *bytes_done; /* in shared memory */
};

static bool makes_word[256];
static bool continues_word[256];

static void *must(void *memory)
{
    if (!memory)
        check(ENOMEM, "no memory");
    return memory;
}

/* ---- Counting: in the workers. */

static void learn_bytes(bool every_byte_makes_a_word)
{
    for (int c = 0; c < 256; c++) {
        continues_word[c] = !isspace(c);
        makes_word[c] = !isspace(c) && (every_byte_makes_a_word || isprint(c));
    }
}

static void count_bytes(struct tally *tally, const unsigned char *bytes, size_t size)
{
    uint64_t lines = 0;
    uint64_t words = 0;
    bool in_word = tally->in_word;

    for (size_t i = 0; i < size && tally->first == NEUTRAL; i++) {
        if (makes_word[bytes[i]])
            tally->first = MAKES_WORD;
        else if (!continues_word[bytes[i]])
            tally->first = ENDS_WORD;
    }
    /* No branch depends on the text: a wrong guess costs more than all of this. */
    for (size_t i = 0; i < size; i++) {
        const bool was_in_word = in_word;
        in_word = (in_word | makes_word[bytes[i]]) & continues_word[bytes[i]];
        words += in_word & !was_in_word;
        lines += bytes[i] == '\n';
    }
    tally->lines += lines;
    tally->words += words;
    tally->bytes += size;
    tally->in_word = in_word;
}

/* Counts from where `fd` stands: `limit` bytes, or up to the end of the file. */
static int count_some(int fd, uint64_t limit, struct tally *tally,
                      _Atomic uint64_t *bytes_done)
{
    static unsigned char buffer[128 * 1024];

    while (tally->bytes < limit) {
        const uint64_t left = limit - tally->bytes;
        const size_t wanted = left < sizeof(buffer) ? (size_t)left : sizeof(buffer);
        const ssize_t size = read(fd, buffer, wanted);
        if (size == -1 && errno == EINTR)
            continue;
        if (size == -1)
            return errno;
        if (size == 0)
            break;
        count_bytes(tally, buffer, (size_t)size);
        atomic_fetch_add_explicit(bytes_done, (uint64_t)size, memory_order_relaxed);
    }
    return 0;
}

/*
 * The task.  The last piece of a file goes on to where the file ends now.  A file of
 * one piece is thus counted as it is; one of several must have kept its size at least,
 * or its pieces do not belong together.
 */
static int count_piece(const void *arg, void *result, void *context)
{
    const struct piece *piece = arg;
    const struct job *job = context;
    const struct file *file = &job->files[piece->file];
    const off_t left = file->size - piece->offset;
    const bool last = left <= PIECE_SIZE;
    const off_t expected = last ? left : PIECE_SIZE;
    struct tally tally = {.first = NEUTRAL};

    const int fd = open(file->name, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return errno;
    int err = 0;
    if (piece->offset > 0 && lseek(fd, piece->offset, SEEK_SET) == -1)
        err = errno;
    if (!err)
        err = count_some(fd, last ? UINT64_MAX : (uint64_t)PIECE_SIZE, &tally,
                         job->bytes_done);
    close(fd);
    if (err)
        return err;
    if (file->size > PIECE_SIZE && tally.bytes < (uint64_t)expected)
        return BECAME_SHORTER;
    *(struct tally *)result = tally;
    return 0;
}

/* ---- Listing the files. */

/* Puts a file, or what could not be looked at, at the end; owns `name` from then on. */
static void add_file(struct file_list *list, char *name, const struct stat *status,
                     int error)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 64;
        list->files =
            must(realloc(list->files, list->capacity * sizeof(list->files[0])));
    }
    const bool regular = !error && S_ISREG(status->st_mode);
    list->files[list->count++] = (struct file){
        .name = name,
        .size = regular ? status->st_size : 0,
        .endless = !error && !regular,
        .error = error,
    };
}

static char *join_path(const char *directory, const char *name)
{
    const size_t length = strlen(directory);
    const size_t size = length + strlen(name) + 2;
    const bool slash = length > 0 && directory[length - 1] == '/';
    char *path = must(malloc(size));

    snprintf(path, size, "%s%s%s", directory, slash ? "" : "/", name);
    return path;
}

static void add_directory(struct file_list *list, const char *name);

/* Adds what was found in a directory; takes `path`. */
static void add_entry(struct file_list *list, char *path)
{
    struct stat status;
    int err = lstat(path, &status) == -1 ? errno : 0;

    if (!err && S_ISDIR(status.st_mode)) {
        add_directory(list, path);
        free(path);
        return;
    }
    if (!err && S_ISLNK(status.st_mode))
        err = stat(path, &status) == -1 ? errno : 0;
    if (err || S_ISREG(status.st_mode))
        add_file(list, path, &status, err);
    else
        free(path); /* A pipe or a device is not opened unless it is asked for. */
}

static void add_directory(struct file_list *list, const char *name)
{
    DIR *directory = opendir(name);
    const struct dirent *entry = NULL;
    int err = directory ? 0 : errno;

    while (!err) {
        errno = 0;
        entry = readdir(directory);
        if (!entry) {
            err = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            add_entry(list, join_path(name, entry->d_name));
    }
    if (directory)
        closedir(directory);
    if (err)
        add_file(list, must(strdup(name)), NULL, err);
}

static int compare_names(const void *one, const void *other)
{
    return strcmp(((const struct file *)one)->name, ((const struct file *)other)->name);
}

/* Adds a file that the user named, or the files of a directory that the user named. */
static void add_argument(struct file_list *list, const char *name)
{
    const size_t before = list->count;
    struct stat status;
    const int err = stat(name, &status) == -1 ? errno : 0;

    if (err || !S_ISDIR(status.st_mode)) {
        add_file(list, must(strdup(name)), &status, err);
        return;
    }
    add_directory(list, name);
    if (list->count > before)
        qsort(list->files + before, list->count - before, sizeof(list->files[0]),
              compare_names);
}

static void free_files(struct file_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->files[i].name);
    free(list->files);
}

/* ---- Sharing out the work. */

static size_t pieces_of(const struct file *file)
{
    if (file->error)
        return 0;
    if (file->size <= PIECE_SIZE)
        return 1;
    return (size_t)((file->size - 1) / PIECE_SIZE) + 1;
}

/* Returns the pieces of all files, in order, for the caller to free. */
static struct piece *cut(const struct file_list *list, size_t *count)
{
    size_t total = 0;
    size_t next = 0;

    for (size_t i = 0; i < list->count; i++)
        total += pieces_of(&list->files[i]);
    struct piece *pieces = must(calloc(total + 1, sizeof(*pieces)));
    for (size_t i = 0; i < list->count; i++) {
        const size_t of_file = pieces_of(&list->files[i]);
        for (size_t k = 0; k < of_file; k++)
            pieces[next++] = (struct piece){i, (off_t)k * PIECE_SIZE};
    }
    *count = total;
    return pieces;
}

/* Joins the count of a piece to the counts of those before it in the same file. */
static void add_piece(struct file *file, const struct tally *piece, int error)
{
    struct tally *sum = &file->tally;

    if (error && !file->error)
        file->error = error;
    if (file->error)
        return;
    sum->lines += piece->lines;
    sum->bytes += piece->bytes;
    sum->words += piece->words;
    if (sum->in_word && piece->first == MAKES_WORD)
        sum->words--; /* It went on with the word that the last piece ended in. */
    if (piece->first != NEUTRAL)
        sum->in_word = piece->in_word;
}

static void draw_progress(uint64_t done, uint64_t total)
{
    static const char marks[] = "########################################";
    const int width = (int)sizeof(marks) - 1;

    if (done > total)
        done = total; /* The files have grown. */
    const double part = total ? (double)done / (double)total : 0;
    fprintf(stderr, "\r[%-*.*s] %3d%%", width, (int)(part * width), marks,
            (int)(part * 100));
    fflush(stderr);
}

/* Waits for the map; on a terminal, draws a bar ten times a second, and clears it. */
static int wait_for(mp_async_result *counted, const struct file_list *list,
                    _Atomic uint64_t *bytes_done)
{
    uint64_t total = 0;
    bool drawn = false;

    if (!isatty(STDERR_FILENO))
        return mp_async_result_wait(counted, MP_FOREVER);
    for (size_t i = 0; i < list->count; i++)
        total += (uint64_t)list->files[i].size;
    int err = mp_async_result_wait(counted, 100);
    while (err == ETIMEDOUT) {
        draw_progress(atomic_load(bytes_done), total);
        drawn = true;
        err = mp_async_result_wait(counted, 100);
    }
    if (drawn)
        fprintf(stderr, "\r%*s\r", 47, ""); /* as long as the bar and its frame */
    return err;
}

/* Counts all files, in a pool of so many workers; 0: as many as are of use. */
static void count_files(struct file_list *list, unsigned workers)
{
    size_t count;
    struct piece *pieces = cut(list, &count);
    struct tally *tallies = must(calloc(count + 1, sizeof(*tallies)));
    int *errors = must(calloc(count + 1, sizeof(*errors)));
    struct job job = {.files = list->files};
    mp_pool *pool;
    mp_async_result *counted;

    job.bytes_done = must(mp_shared_alloc(sizeof(*job.bytes_done)));
    if (workers == 0)
        workers = mp_cpu_count();
    if (workers > count)
        workers = count > 0 ? (unsigned)count : 1;
    check(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = workers, .context = &job)),
          "mp_pool_new");
    check(mp_pool_map_async(pool, count_piece, pieces, count, sizeof(*pieces), tallies,
                            sizeof(*tallies), MP_MAP_OPTIONS(.errors = errors),
                            &counted),
          "mp_pool_map_async");
    check(wait_for(counted, list, job.bytes_done), "mp_async_result_wait");
    for (size_t i = 0; i < count; i++)
        add_piece(&list->files[pieces[i].file], &tallies[i], errors[i]);

    mp_async_result_free(counted);
    mp_pool_free(pool);
    mp_shared_free(job.bytes_done);
    free(errors);
    free(tallies);
    free(pieces);
}

/* ---- Printing as wc does. */

/* The width of a column: that of the sum of all sizes, and 7 if there are pipes. */
static int column_width(const struct file_list *list)
{
    uint64_t sum = 0;
    int least = 1;
    int width = 1;

    for (size_t i = 0; i < list->count; i++) {
        sum += (uint64_t)list->files[i].size;
        if (list->files[i].endless)
            least = 7;
    }
    for (; sum >= 10; sum /= 10)
        width++;
    return width > least ? width : least;
}

/* A name with a line feed in it is quoted for the shell, so that it takes one line. */
static void print_name(const char *name)
{
    bool escaped = false; /* between $' and ' */

    if (!strchr(name, '\n')) {
        fputs(name, stdout);
        return;
    }
    putchar('\'');
    for (; *name; name++) {
        static const char plain[] = "\a\b\t\n\v\f\r";
        const unsigned char c = (unsigned char)*name;
        const char *letter = strchr(plain, c);
        if (!isprint(c) && !escaped)
            fputs("'$'", stdout);
        else if (isprint(c) && escaped && c != '\'')
            fputs("''", stdout);
        escaped = !isprint(c);
        if (letter)
            printf("\\%c", "abtnvfr"[letter - plain]);
        else if (escaped)
            printf("\\%03o", c);
        else
            fputs(c == '\'' ? "'\\''" : (char[]){(char)c, '\0'}, stdout);
    }
    putchar('\'');
}

static void print_tally(const struct tally *tally, int width, const char *name)
{
    printf("%*" PRIu64 " %*" PRIu64 " %*" PRIu64 " ", width, tally->lines, width,
           tally->words, width, tally->bytes);
    print_name(name);
    putchar('\n');
}

static const char *reason(int error)
{
    if (error == EOWNERDEAD)
        return "The process that counted it was killed";
    if (error == BECAME_SHORTER)
        return "It became shorter while it was counted";
    return strerror(error);
}

/* Prints a line for each file and one for all; returns the exit status. */
static int print_files(const struct file_list *list)
{
    const int width = column_width(list);
    struct tally total = {.lines = 0};
    int status = EXIT_SUCCESS;

    for (size_t i = 0; i < list->count; i++) {
        const struct file *file = &list->files[i];
        if (file->error) {
            fprintf(stderr, "%s: %s: %s\n", example_name, file->name,
                    reason(file->error));
            status = EXIT_FAILURE;
            continue;
        }
        print_tally(&file->tally, width, file->name);
        total.lines += file->tally.lines;
        total.words += file->tally.words;
        total.bytes += file->tally.bytes;
    }
    if (list->count > 1)
        print_tally(&total, width, "total");
    if (fflush(stdout) == EOF || ferror(stdout))
        check(errno, "standard output");
    return status;
}

static int usage(void)
{
    fprintf(stderr, "usage: %s [-b] [-j WORKERS] FILE-OR-DIRECTORY...\n", example_name);
    return 2;
}

/* The number of workers that -j names, or 0 if it names none. */
static unsigned parse_workers(const char *text)
{
    char *end;
    const unsigned long workers = strtoul(text, &end, 10);

    if (!isdigit((unsigned char)text[0]) || *end != '\0' || workers > 4096)
        return 0;
    return (unsigned)workers;
}

int main(int argc, char **argv)
{
    static const char options[] = "bj:";
    struct file_list list = {.count = 0};
    bool every_byte_makes_a_word = false;
    unsigned workers = 0;

    example_name = "wordcount";
    for (int option = getopt(argc, argv, options); option != -1;
         option = getopt(argc, argv, options)) {
        if (option == 'b')
            every_byte_makes_a_word = true;
        else if (option == 'j')
            workers = parse_workers(optarg);
        if (option == '?' || (option == 'j' && workers == 0))
            return usage();
    }
    if (optind == argc)
        return usage();

    learn_bytes(every_byte_makes_a_word);
    for (int i = optind; i < argc; i++)
        add_argument(&list, argv[i]);
    if (list.count > 0)
        count_files(&list, workers);
    const int status = print_files(&list);
    free_files(&list);
    return status;
}
