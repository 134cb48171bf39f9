/** The names to choose from in filters: of services, and of a service's operations, in the range in view. */

import { getOperations, getServices } from '../api/client';
import { Request } from './request.svelte';
import { view } from './view.svelte';

/** Names are asked for when the range itself changes, not at each refresh. A failure leaves nothing to choose from. */
export class Catalog {
  private readonly serviceRequest: Request<string[]>;
  private readonly operationRequest: Request<string[]>;
  services: string[] = $derived.by(() => this.serviceRequest.value ?? []);
  operations: string[] = $derived.by(() => this.operationRequest.value ?? []);

  /** `service` reads the chosen service; without one there are no operations. Call while a component is set up. */
  constructor(service: () => string) {
    const range = $derived(JSON.stringify(view.range));
    this.serviceRequest = new Request(() => {
      void range;
      return async (signal) => {
        const answer = await getServices(view.window, signal);
        return answer.services.map((one) => one.name).sort();
      };
    });
    this.operationRequest = new Request(() => {
      void range;
      const name = service();
      if (!name) return null;
      return async (signal) => {
        const answer = await getOperations(name, view.window, signal);
        return [...new Set(answer.operations.map((one) => one.name))].sort();
      };
    }, service);
  }
}
