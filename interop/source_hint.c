/* SPDX-License-Identifier: Apache-2.0 */
/* Guesses what a user gave instead of a safetensors file, for the error text alone. */
#include <strings.h>

#include "interop/source.h"

static const struct {
	const char *magic;
	size_t n;
	const char *what;
} magics[] = {
	{"GGUF", 4, "a GGUF model"},
	{"\x89"
	 "AQZ",
		4, "an aqlmzip file, which is compressed already"},
	{"PK\x03\x04", 4, "a zip archive (PyTorch .pt and .bin files and .npz files are)"},
	{"\x80\x02", 2, "a pickle (an old PyTorch file)"},
	{"\x80\x03", 2, "a pickle"},
	{"\x80\x04", 2, "a pickle"},
	{"\x80\x05", 2, "a pickle"},
	{"\x93NUMPY", 6, "a NumPy .npy file"},
	{"\x89HDF\r\n\x1a\n", 8, "an HDF5 file"},
	{"\x1f\x8b", 2, "a gzip file"},
	{"\x28\xb5\x2f\xfd", 4, "a zstd file"},
	{"version https://git-lfs", 23, "a Git LFS pointer; fetch the file itself by git lfs pull"},
};

const char *aqz_source_hint(const uint8_t *head, size_t n)
{
	const char *text = (const char *)head;

	for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
		if (n >= magics[i].n && memcmp(text, magics[i].magic, magics[i].n) == 0)
			return magics[i].what;
	while (n > 0 && strchr(" \t\r\n", *text) != NULL && *text != '\0') {
		text++;
		n--;
	}
	if ((n >= 9 && strncasecmp(text, "<!doctype", 9) == 0) ||
		(n >= 5 && strncasecmp(text, "<html", 5) == 0))
		return "a web page, perhaps of a download that failed";
	if (n > 0 && (*text == '{' || *text == '['))
		return "JSON; give the folder of the model, not its index or config";
	return NULL;
}
