/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of section kinds, spec 5.2.1. */
#include "format/layout.h"

const char *aqz_kind_name(aqz_kind kind)
{
	switch (kind) {
	case AQZ_KIND_TENSOR:
		return "tensor";
	case AQZ_KIND_CODEBOOK:
		return "codebook";
	case AQZ_KIND_CODEBOOK_SCALES:
		return "codebook scales";
	case AQZ_KIND_ROW_SCALES:
		return "row scales";
	case AQZ_KIND_COLUMN_SCALES:
		return "column scales";
	case AQZ_KIND_GROUP_SCALES:
		return "group scales";
	case AQZ_KIND_ENTROPY_TABLE:
		return "entropy table";
	case AQZ_KIND_SIGNS:
		return "signs";
	case AQZ_KIND_BIAS:
		return "bias";
	case AQZ_KIND_PERMUTATION:
		return "permutation";
	case AQZ_KIND_FILE:
		return "file";
	case AQZ_KIND_SOURCE_HEADER:
		return "source header";
	case AQZ_KIND_METADATA:
		return "metadata";
	}
	return NULL;
}
