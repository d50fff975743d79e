/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints that are broken, of another run, or of a model that has changed since. */
#include "tests/checkpoint_runs.h"
#include "tests/sparse.h"

#define NAME_OF_3 "model.layers.3.mlp.up_proj.weight"

/* Bytes changed and ends cut off all over a tensor's checkpoint and a set's: told, and made anew. */
START_TEST(damage)
{
	static const char *const names[] = {"ck/aqlmzip-000001.aqz", "ck/aqlmzip-set-000000.aqz"};
	run whole = plain(AQZ_SHARE_KIND, NULL), r = plain(AQZ_SHARE_KIND, "ck");

	put_matrices();
	GO(&whole, true);
	interrupt(&r, 3);
	for (int k = 0; k < 2; k++) {
		memory_file good = get(names[k]), now;

		ck_assert_uint_gt(good.n, 1000);
		for (size_t i = 0; i < good.n; i += 5 * SPARSE) {
			const bool cut = i % 4 == 3;
			uint8_t *bad = sure_alloc(good.n);

			memcpy(bad, good.data, good.n);
			bad[i] ^= (uint8_t)(1 << i % 8);
			put(names[k], bad, cut ? i : good.n);
			free(bad);
			/* Far enough to need it. */
			r.stop_at = 3;
			ck_assert_int_eq(go(&r, false), AQZ_E_CANCELLED);
			ck_assert_msg(r.n_warnings == 1, "byte %zu: %u warnings", i, r.n_warnings);
			ck_assert_ptr_nonnull(strstr(r.warning, names[k] + 3));
			now = get(names[k]);
			ck_assert_uint_eq(now.n, good.n);
			ck_assert_mem_eq(now.data, good.data, good.n);
			memory_free(&now);
		}
		memory_free(&good);
	}
	r.stop_at = UINT32_MAX;
	GO(&r, true);
	same_bytes(&r, &whole);
	memory_free(&whole.file);
	memory_free(&r.file);
}
END_TEST

/* Sound containers of this run that are not what their names say, or hold what no run writes. */
START_TEST(sound_but_wrong)
{
	run whole = plain(AQZ_SHARE_NONE, NULL), r = plain(AQZ_SHARE_NONE, "ck");
	static const double bad_errors[] = {NAN, INFINITY, -1, 1};
	static uint8_t made[64], books[2 * 8 * 4 * 2], scales[96 * 2], codes[1 << 16];
	const uint64_t n_codes = aqz_additive_codes_bytes(&r.o.scheme, 96, 16);
	const char *what = "tensor 1 as 2x3g4: model.layers.1.mlp.up_proj.weight\n";

	put_matrices();
	GO(&whole, true);
	interrupt(&r, N_TENSORS);
	memory_file other = get("ck/aqlmzip-000000.aqz");
	put("ck/aqlmzip-000001.aqz", other.data, other.n);
	GO(&r, false);
	ck_assert_uint_eq(r.n_warnings, 1);
	same_bytes(&r, &whole);
	memory_free(&other);
	ck_assert_uint_le(n_codes, sizeof codes);
	for (int k = 0; k < 12; k++) {
		aqz_part parts[5] = {{"made", made, 48}, {"codebooks", books, sizeof books},
			{"scales", scales, sizeof scales}, {"codes", codes, n_codes}, {"more", made, 1}};
		uint32_t n = 4;
		aqz_source *s = open_ok(in_root("m.safetensors"));
		aqz_checkpoint *p;
		aqz_plan *plan;

		memset(made, 0, sizeof made);
		if (k < 3)
			memcpy(made + 24, &bad_errors[k], 8);
		made[16] = k == 3; /* a loss without statistics */
		/* the effort */
		made[17] = k == 4 ? 2 : 1;
		if (k >= 5 && k < 9)
			parts[k - 5].n_bytes -= k % 2 == 0 ? 1 : 2;
		n = k == 9 ? 5 : k == 10 ? 3 : 4;
		ck_assert_int_eq(aqz_plan_make(&plan, s, &r.o, NULL), AQZ_OK);
		ck_assert_int_eq(aqz_checkpoint_open(&p, plan, NULL), AQZ_OK);
		ck_assert_int_eq(aqz_checkpoint_write(
							 p, AQZ_KEPT_TENSOR, 1, k == 11 ? "tensor 1\n" : what, parts, n, NULL),
			AQZ_OK);
		aqz_checkpoint_close(p);
		aqz_plan_free(plan);
		aqz_source_close(s);
		GO(&r, false);
		ck_assert_msg(r.n_warnings == 1, "%d: %u warnings", k, r.n_warnings);
		same_bytes(&r, &whole);
	}
	GO(&r, true);
	memory_free(&whole.file);
	memory_free(&r.file);
}
END_TEST

START_TEST(another_run)
{
	run r = plain(AQZ_SHARE_NONE, "ck"), other;
	const aqz_rule rule = {.glob = "*", .scheme = r.o.scheme};

	put_matrices();
	interrupt(&r, 4);
	memory_free(&r.file);
	r.file = (memory_file){0}; /* each has its own */
	other = r;
	other.o.resume = false;
	refused(&other, AQZ_E_ARGUMENT, WHERE, "holds checkpoints");
	other = r;
	other.o.effort = 2;
	refused(&other, AQZ_E_ARGUMENT, WHERE, "effort is 1 there and 2 here");
	other = r;
	other.o.seed = 5;
	refused(&other, AQZ_E_ARGUMENT, WHERE, "seed is 0 there and 5 here");
	other = r;
	other.o.share = AQZ_SHARE_ALL;
	refused(&other, AQZ_E_ARGUMENT, WHERE, "share is \"none\" there and \"all\" here");
	other = r;
	other.o.rules = &rule;
	other.o.n_rules = 1;
	refused(&other, AQZ_E_ARGUMENT, WHERE, "rules is [] there and [\"*=2x3g4\"] here");
	other = r;
	other.o.codebook_dtype = AQZ_I8;
	other.o.id = (const uint8_t *)"0123456789abcdef";
	refused(&other, AQZ_E_ARGUMENT, WHERE, "codebook_dtype is \"F16\" there and \"I8\" here");
	/* other names, the same options */
	put_model("m.safetensors", "a b");
	refused(&r, AQZ_E_ARGUMENT, WHERE, "of another model");
	r.o.id = (const uint8_t *)"0123456789abcdef";
	refused(&r, AQZ_E_ARGUMENT, WHERE, "of another model");
	/* somebody's model under such a name */
	put_matrices();
	run whole = plain(AQZ_SHARE_NONE, NULL);
	GO(&whole, true);
	put("ck/aqlmzip-000001.aqz", whole.file.data, whole.file.n);
	refused(&r, AQZ_E_ARGUMENT, WHERE, "a container with the name of a checkpoint");
	memory_file kept = get("ck/aqlmzip-000001.aqz");
	ck_assert_uint_eq(kept.n, whole.file.n);
	memory_free(&kept);
	memory_free(&whole.file);
	memory_free(&r.file);
}
END_TEST

START_TEST(changed_model)
{
	run r = plain(AQZ_SHARE_NONE, "ck"), whole = plain(AQZ_SHARE_NONE, NULL);

	put_matrices();
	interrupt(&r, 4);
	flip("m.safetensors", weight_of(3));
	refused(&r, AQZ_E_CHECKSUM, NAME_OF_3, "changed since the checkpoint");
	flip("m.safetensors", weight_of(3));
	/* What has no checkpoint yet may change: the file is that of the model as it is. */
	flip("m.safetensors", weight_of(RAW));
	flip("m.safetensors", weight_of(5));
	GO(&whole, true);
	GO(&r, true);
	same_bytes(&r, &whole);
	/* Not so where codebooks were trained on it. */
	r.o.share = AQZ_SHARE_KIND;
	r.o.resume = false;
	interrupt(&r, 4);
	flip("m.safetensors", weight_of(5));
	refused(&r, AQZ_E_CHECKSUM, "model.layers.0.mlp.up_proj.weight",
		"another tensor with its codebooks");
	memory_free(&whole.file);
	memory_free(&r.file);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("checkpoint bad");
	TCase *t = tcase_create("runs");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, damage);
	tcase_add_test(t, sound_but_wrong);
	tcase_add_test(t, another_run);
	tcase_add_test(t, changed_model);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
