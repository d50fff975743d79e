# SPDX-License-Identifier: Apache-2.0
# Completion of aqlmzip for bash; needs no helper functions.

_aqlmzip() {
	local cur prev command='' options='' i
	COMPREPLY=()
	cur=${COMP_WORDS[COMP_CWORD]}
	prev=${COMP_WORDS[COMP_CWORD - 1]}
	local commands='compress decompress info verify salvage calibrate eval generate bench export transcode help version'
	local schemes='raw 2x8g8 1x16g8 4x8g8 3x8g8 1x8g8 4x8g16 ectcq'

	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} != -* ]]; then
			command=${COMP_WORDS[i]}
			break
		fi
	done

	case $command in
	'')
		mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$cur")
		return
		;;
	help)
		mapfile -t COMPREPLY < <(compgen -W "$commands --help" -- "$cur")
		return
		;;
	compress | transcode)
		options='-o --output -p --profile -s --scheme -b --bits --slope --trellis --importance --no-waterfill
			--no-rate-term -t --tensors --stats -e --effort --seed --train-vectors --share
			--codebooks-from --codebook-bits --codebook-dtype --scale-dtype --align --non-finite --checkpoint --resume
			--id -n --dry-run -T --threads -M --memory -f --force -q --quiet -v --verbose --json'
		;;
	decompress)
		options='-o --output -t --tensor -r --rows -d --dtype --original -T --threads -M --memory -f --force -q --quiet
			-v --verbose'
		;;
	info) options='-t --tensors --devices -M --memory --json' ;;
	verify) options='--quick --full --against --stats -T --threads -M --memory -q --quiet -v --verbose --json' ;;
	salvage) options='-o --output -f --force -M --memory -q --quiet -v --verbose --json' ;;
	calibrate)
		options='-o --output --text --ids -l --length -w --windows -n --tokens --spread --documents --bos --tokenizer
			--row-importance --importance-tokens --seed -T --threads -M --memory -f --force -q --quiet -v --verbose
			--json'
		;;
	eval)
		options='--text --ids --reference -l --length -w --windows -n --tokens --documents --bos --tokenizer
			-T --threads -M --memory -q --quiet -v --verbose --json'
		;;
	generate)
		options='-p --prompt --prompt-file -n --max-tokens -t --temperature --top-k --top-p --min-p --seed -c --chat
			--chat-form --system --stop --ignore-end --context --tokenizer -T --threads -M --memory -q --quiet
			-v --verbose --json'
		;;
	bench)
		options='--only --device -s --scheme --size -e --effort --shapes --full --table-bits --seconds -T --threads
			-M --memory -q --quiet --json'
		;;
	export)
		options='-o --output --format -d --dtype --tokenizer --shard-bytes -T --threads -M --memory -f --force
			-q --quiet -v --verbose'
		;;
	version) ;;
	*) return ;;
	esac
	options="$options -h --help"

	# -p is what a file is for here, and a prompt of generate elsewhere.
	if [[ $prev == --profile || ( $prev == -p && $command != generate ) ]]; then
		mapfile -t COMPREPLY < <(compgen -W 'runtime archive' -- "$cur")
		return
	fi
	case $prev in
	--trellis)
		mapfile -t COMPREPLY < <(compgen -W '1 4 8 16 32 64 128 256' -- "$cur")
		return
		;;
	--importance)
		mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$cur")
		return
		;;
	--scheme | -s)
		mapfile -t COMPREPLY < <(compgen -W "$schemes" -- "$cur")
		return
		;;
	--effort | -e)
		mapfile -t COMPREPLY < <(compgen -W '1 2 3 4 5 6 7 8 9' -- "$cur")
		return
		;;
	--codebook-dtype)
		mapfile -t COMPREPLY < <(compgen -W 'i8 f16 bf16 f32' -- "$cur")
		return
		;;
	--codebook-bits)
		mapfile -t COMPREPLY < <(compgen -W '8 16 32' -- "$cur")
		return
		;;
	--share)
		mapfile -t COMPREPLY < <(compgen -W 'none kind block all' -- "$cur")
		return
		;;
	--scale-dtype | --dtype | -d)
		mapfile -t COMPREPLY < <(compgen -W 'f16 bf16 f32' -- "$cur")
		return
		;;
	--only)
		mapfile -t COMPREPLY < <(compgen -W 'codec kernels' -- "$cur")
		return
		;;
	--table-bits)
		mapfile -t COMPREPLY < <(compgen -W '8 16 32' -- "$cur")
		return
		;;
	--shapes)
		mapfile -t COMPREPLY < <(compgen -W 'llama-2-7b llama-2-70b llama-3-8b' -- "$cur")
		return
		;;
	--format)
		mapfile -t COMPREPLY < <(compgen -W 'hf' -- "$cur")
		return
		;;
	--bos)
		mapfile -t COMPREPLY < <(compgen -W 'none first each' -- "$cur")
		return
		;;
	--chat-form)
		mapfile -t COMPREPLY < <(compgen -W 'chatml llama2 llama3 mistral' -- "$cur")
		return
		;;
	--align)
		mapfile -t COMPREPLY < <(compgen -W '64 4096' -- "$cur")
		return
		;;
	--non-finite)
		mapfile -t COMPREPLY < <(compgen -W 'error raw' -- "$cur")
		return
		;;
	--bits | -b | --slope | --tensors | --tensor | -t | --rows | -r | --seed | --train-vectors | \
		--threads | -T | --memory | -M | --id | --size | --length | -l | --windows | -w | \
		--tokens | --importance-tokens | --documents | --prompt | -p | --max-tokens | --temperature | --top-k | \
		--top-p | --min-p | --system | --stop | --context | --shard-bytes | --seconds) return ;;
	esac

	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
	else
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}
complete -F _aqlmzip aqlmzip
