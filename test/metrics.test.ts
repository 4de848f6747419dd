import t from 'tap';
import { createEndpointSeries, createMetrics } from '../src/metrics.ts';

t.test('the series that are known beforehand are there from the start, at zero', async (t) => {
  const text = await createMetrics('1.2.3').registry.metrics();
  for (const line of [
    'ragmill_build_info{version="1.2.3"} 1',
    'ragmill_batches_total{status="completed"} 0',
    'ragmill_lines_total{outcome="succeeded",code="none"} 0',
    'ragmill_rag_outcomes_total{outcome="hard_failure"} 0',
    'ragmill_retries_total{reason="ambiguous"} 0',
    'ragmill_tokens_total{direction="prompt"} 0',
    'ragmill_cached_tokens_total 0',
    'ragmill_stage_duration_seconds_count{stage="generation"} 0',
    'ragmill_queue_lines 0',
    'ragmill_stale_writes_total 0',
    'ragmill_ready 0',
  ]) {
    t.ok(text.includes(`\n${line}\n`), line);
  }
  for (const quantile of ['0.5', '0.99', '1']) {
    t.match(
      text,
      new RegExp(`^ragmill_event_loop_delay_seconds\\{quantile="${quantile}"\\} [0-9.e-]+$`, 'm'),
    );
  }
  t.match(text, /^process_cpu_user_seconds_total /m);
});

t.test('an endpoint has all of its series once it is known', async (t) => {
  const metrics = createMetrics('1.2.3');
  createEndpointSeries(metrics, 'gpu-0');
  const text = await metrics.registry.metrics();
  for (const requestClass of [
    'success',
    'hard',
    'overload',
    'misconfigured',
    'request',
    'ambiguous',
    'cancelled',
  ]) {
    t.ok(
      text.includes(`ragmill_endpoint_requests_total{endpoint="gpu-0",class="${requestClass}"} 0`),
      requestClass,
    );
  }
});

t.test('two services in one process do not share their numbers', async (t) => {
  const [first, second] = [createMetrics('1'), createMetrics('1')];
  first.queueLines.set(5);
  t.match(await second.registry.metrics(), /^ragmill_queue_lines 0$/m);
});
