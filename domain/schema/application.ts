// The zod schema of what the version hook prints.
import { z } from 'zod';

export const applicationSchema = z.object({ version: z.string().min(1), modules: z.array(z.string()).default([]) });
