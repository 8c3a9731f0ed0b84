// The commands, in the order of the help.
import type { Command } from 'commander';
import { backupCommand } from './backup.js';
import { cancelCommand } from './cancel.js';
import { catCommand } from './cat.js';
import { completionCommand } from './completion.js';
import { configCommand } from './config.js';
import { diffCommand } from './diff.js';
import { doctorCommand } from './doctor.js';
import { findCommand } from './find.js';
import { initCommand } from './init.js';
import { keysCommand } from './keys.js';
import { listCommand } from './list.js';
import { lockCommand } from './lock.js';
import { lsCommand } from './ls.js';
import { planCommand } from './plan.js';
import { recoverCommand } from './recover.js';
import { restoreCommand } from './restore.js';
import { rollbackCommand } from './rollback.js';
import { scheduleCommand } from './schedule.js';
import { showCommand } from './show.js';
import { statusCommand } from './status.js';
import { upCommand } from './up.js';
import { verifyCommand } from './verify.js';
import { watchCommand } from './watch.js';

export const COMMANDS: readonly (() => Command)[] = [
  upCommand,
  initCommand,
  configCommand,
  doctorCommand,
  backupCommand,
  planCommand,
  restoreCommand,
  rollbackCommand,
  recoverCommand,
  listCommand,
  showCommand,
  lsCommand,
  catCommand,
  findCommand,
  diffCommand,
  verifyCommand,
  statusCommand,
  watchCommand,
  cancelCommand,
  scheduleCommand,
  lockCommand,
  keysCommand,
  completionCommand,
];
