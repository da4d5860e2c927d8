import time
from datetime import timedelta
import pytest
from django.db import connection
from billing.audit import attempts, catalogue, money, periods, progress, requests
from billing.audit.invariants import violations, snapshot
from tests.conftest import SHORT
from tests.factories import *

SEED = """
SET session_replication_role = replica;
INSERT INTO billing_customer (public_id, account_id, reference, name, email, country_code, phone_number, metadata, created_at)
SELECT 'cus_'||g, %(acc)s, 'c'||g, 'A','a@x','60','1','{}', %(now)s FROM generate_series(1,20000) g;
INSERT INTO billing_paymentmethod (public_id, account_id, customer_id, kind, state, environment, gateway_customer_id, label, return_token, is_default, baseline_read_at, created_at)
SELECT 'pm_'||substr(c.public_id,5), %(acc)s, c.id, 'tokenized','active','simulator','9'||c.id,'','t'||c.id,true,%(now)s,%(now)s FROM billing_customer c;
INSERT INTO billing_subscription (public_id, account_id, customer_id, plan_id, reference, state, collector, catch_up, amount_minor, currency, interval, target, every, charge_time, time_zone, charge_at_start, anchor_date, occurrence, next_due_at, period_index, periods_charged, created_at, activated_at, metadata)
SELECT 'sub_'||c.id, %(acc)s, c.id, %(plan)s, 'r'||c.id, 'active','engine','all',1990,'MYR','DAILY',NULL,1,'09:00','Asia/Kuala_Lumpur',false,'2026-03-02',6,%(now)s::timestamptz + interval '6 days',5,5,%(now)s,%(now)s,'{}' FROM billing_customer c;
INSERT INTO billing_invoice (created_at, public_id, account_id, customer_id, subscription_id, period_index, state, description, lines, amount_minor, currency, due_at, closed_at, attempt_count)
SELECT %(now)s::timestamptz + (n+1)*interval '1 day', 'inv_'||s.id||'_'||n, %(acc)s, s.customer_id, s.id, n, 'paid','Coffee','[]',1990,'MYR', %(now)s::timestamptz + (n+1)*interval '1 day', %(now)s::timestamptz + (n+1)*interval '1 day', 1
FROM billing_subscription s, generate_series(0,4) n;
WITH a AS (SELECT i.*, c.id AS card, c.gateway_customer_id AS g, upper(lpad(to_hex(i.id),12,'0')) AS m FROM billing_invoice i JOIN billing_paymentmethod c ON c.customer_id=i.customer_id),
b AS (SELECT *, convert_to('{"amount":1990,"currency":"MYR","description":"'||m||' x","title":"Coffee '||m||'"}','UTF8') AS body, 'http://127.0.0.1:1/v3/customer/'||g||'/order' AS url FROM a)
INSERT INTO billing_paymentattempt (public_id, account_id, invoice_id, payment_method_id, number, state, marker, amount_minor, currency, gateway_customer_id, charge_path, title, description, request_method, request_url, request_body, request_nonce, request_timestamp, request_signature, request_hash, gateway_transaction_id, gateway_order_id, armed_at, window_ends_at, deadline_at, last_evidence_id, settled_at)
SELECT 'att_'||id, account_id, id, card, 1, 'succeeded', m, 1990,'MYR', g, 'customer_order','Coffee '||m, m||' x','POST',url,body,'n'||id, extract(epoch from due_at)::bigint,'sig',
 encode(sha256(convert_to('POST'||E'\n'||url||E'\n'||'n'||id||E'\n'||extract(epoch from due_at)::bigint||E'\n'||'sig'||E'\n','UTF8')||body),'hex'), 'T'||id,'O'||id, due_at, due_at+interval '20 s', due_at+interval '125 s', id, due_at FROM b;
INSERT INTO billing_evidence (account_id, attempt_id, source, verdict, reason, digest, content, recorded_at)
SELECT account_id, id, 'answer','paid','success','d'||id, jsonb_build_object('amount_minor',1990,'currency','MYR','transaction_id',gateway_transaction_id), settled_at FROM billing_paymentattempt;
INSERT INTO billing_transition (account_id, subject_type, subject_id, from_state, to_state, reason, actor, at, evidence_id) SELECT a.account_id,'attempt',a.id, v.f, v.t,'paid','engine',armed_at, CASE WHEN v.n=2 THEN e.id END FROM billing_paymentattempt a JOIN billing_evidence e ON e.attempt_id=a.id, (VALUES (1,'','sending'),(2,'sending','succeeded')) v(n,f,t) ORDER BY armed_at, a.id, v.n;
INSERT INTO billing_transition (account_id, subject_type, subject_id, from_state, to_state, reason, actor, at) SELECT account_id,'invoice',id,'','open','period_due','engine',due_at FROM billing_invoice;
INSERT INTO billing_transition (account_id, subject_type, subject_id, from_state, to_state, reason, actor, at) SELECT account_id,'invoice',id,'open','paid','paid','engine',due_at FROM billing_invoice;
INSERT INTO billing_event (public_id, account_id, kind, subject_type, subject_id, occasion, payload, created_at) SELECT 'evt_'||id, account_id,'invoice.paid','invoice',id,'',  '{}', due_at FROM billing_invoice;
SET session_replication_role = origin;
"""


@pytest.mark.timeout(500)
@pytest.mark.django_db(transaction=True)
def test_big(_installation, capsys):
    with capsys.disabled():
        acc = make_account()
        plan = make_plan(acc)
        t = time.time()
        with connection.cursor() as c:
            c.execute(SEED, {"acc": acc.pk, "plan": plan.pk, "now": NOW})
            print("seed", time.time() - t)
            for analyze in (False, True):
                if analyze:
                    c.execute("ANALYZE")
                now = NOW + timedelta(days=5, hours=1)
                for f in (
                    lambda: catalogue.catalogue_violations(),
                    lambda: money.violations(None),
                    lambda: attempts.violations(None),
                    lambda: requests.violations(None),
                    lambda: periods.violations(None, now=now),
                    lambda: progress.violations(None, now=now, limits=SHORT),
                ):
                    t = time.time()
                    with snapshot():
                        r = list(f())
                    print(round(time.time() - t, 2), len(r), [x for x in r[:3]])
                t = time.time()
                v = violations(now=now, limits=SHORT)
                print("ALL", analyze, round(time.time() - t, 2), len(v))
