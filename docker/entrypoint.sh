#!/bin/sh
# The services of the image by name; words behind the name go to the program. Anything else is run as it is.
#
#   migrate     bring the database up to date, and end
#   web         API, admin, bind pages and /health/ on port 8000 (gunicorn reads PORT)
#   charge      the worker that charges what is due
#   notify      the worker that publishes events and delivers webhooks
#   mail        the worker that sends mail
#   background  the worker for everything else
#   beat        rings the workers every few seconds
#   simulator   the gateway's twin; it prints one line of JSON about itself
#
# Each takes this shell's place (exec), so that the signal to stop reaches the program and nothing else.
set -eu

service="${1:-web}"
[ "$#" -eq 0 ] || shift

worker() {
    queues="$1" name="$2"
    shift 2
    exec python -m celery -A config.celery worker --queues "$queues" --hostname "$name@%h" --concurrency 2 \
        --loglevel INFO --without-gossip --without-mingle "$@"
}

case "$service" in
migrate)
    exec python manage.py migrate --no-input "$@"
    ;;
web)
    # No access log: addresses of bind pages are secrets, and searches carry names. The proxy in front keeps one.
    exec python -m gunicorn config.wsgi --worker-class config.web.Worker --workers 2 --threads 8 \
        --graceful-timeout 30 --no-control-socket "$@"
    ;;
charge)
    worker charge charge "$@"
    ;;
background)
    worker reconcile,housekeeping background "$@"
    ;;
notify)
    worker notify notify "$@"
    ;;
mail)
    worker mail mail "$@"
    ;;
beat)
    exec python -m celery -A config.celery beat --schedule /tmp/beat-schedule --pidfile "" --loglevel INFO "$@"
    ;;
simulator)
    exec python -m rm_gateway.simulator "$@"
    ;;
*)
    exec "$service" "$@"
    ;;
esac
