// What holdfast needs of a namespace: its search attributes in any engine (an unknown one refuses the start of a
// workflow), and 90 days of retention in the embedded one, whose own default is a day. DESIGN "Workflows".
import { setTimeout as delay } from 'node:timers/promises';
import type { OperatorService, WorkflowService } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import { ENGINE_LIMITS } from '../client/engine-limits.js';
import { SEARCH_ATTRIBUTES } from '../domain/names.js';
import { Stop } from '../domain/stop.js';

export interface EngineServices {
  readonly workflowService: WorkflowService;
  readonly operatorService: OperatorService;
}

/** INDEXED_VALUE_TYPE_KEYWORD of Temporal's API. */
const KEYWORD = 2;

/** Which of our attributes are not registered. An attribute of our name and another type is STOP engine_unavailable. */
async function missingSearchAttributes({ operatorService }: EngineServices, namespace: string): Promise<string[]> {
  const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
  return SEARCH_ATTRIBUTES.filter((name) => {
    const type = customAttributes[name];
    if (type !== undefined && type !== KEYWORD) {
      throw new Stop('engine_unavailable', 'a search attribute of the engine has another type', {
        namespace,
        name,
        type,
        wanted: 'Keyword',
      });
    }
    return type === undefined;
  });
}

/** Registers what is missing, as Keyword, and returns once the engine lists them all. Safe to run from many workers. */
export async function ensureSearchAttributes(services: EngineServices, namespace: string): Promise<void> {
  const deadline = performance.now() + ENGINE_LIMITS.readyMillis;
  let refusal: unknown;
  for (let missing = await missingSearchAttributes(services, namespace); missing.length > 0;) {
    if (performance.now() > deadline) {
      throw new Stop(
        'engine_unavailable',
        'search attributes could not be registered',
        { namespace, missing, reason: String(refusal) },
        { cause: refusal },
      );
    }
    const searchAttributes = Object.fromEntries(missing.map((name) => [name, KEYWORD]));
    try {
      await services.operatorService.addSearchAttributes({ namespace, searchAttributes });
    } catch (error) {
      // Another worker may have been first: what counts is the list, and the reason is kept for when it stays short
      refusal = error;
      await delay(500);
    }
    missing = await missingSearchAttributes(services, namespace);
  }
}

/** Seconds that closed runs are kept. */
export async function retentionSeconds({ workflowService }: EngineServices, namespace: string): Promise<number> {
  const { config } = await workflowService.describeNamespace({ namespace });
  return Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0);
}

/** Sets the retention of the embedded engine's namespace; what is set is read back. */
export async function ensureRetention(services: EngineServices, namespace: string): Promise<void> {
  const wanted = ENGINE_LIMITS.retentionSeconds;
  if ((await retentionSeconds(services, namespace)) === wanted) return;
  const config = { workflowExecutionRetentionTtl: msToTs(wanted * 1000) };
  await services.workflowService.updateNamespace({ namespace, config });
  const found = await retentionSeconds(services, namespace);
  if (found !== wanted)
    throw new Stop('engine_unavailable', 'the retention of the engine could not be set', { namespace, found, wanted });
}
