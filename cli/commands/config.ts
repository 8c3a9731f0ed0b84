// holdfast config validate [FILE...] | holdfast config show STORE [--effective] | holdfast config schema
import type { Command } from 'commander';
import type { DefinitionProblem } from '../../definitions/problems.js';
import type { StoreDefinition } from '../../domain/definition.js';
import { Stop } from '../../domain/stop.js';
import { describeCommand, localDefinitions, outputOf } from '../command.js';
import { formatCount } from '../output.js';

const VALIDATE = 'holdfast config validate';
const SHOW = 'holdfast config show shop --effective';
const SCHEMA = 'holdfast config schema';

export function configCommand(): Command {
  return describeCommand({
    name: 'config',
    summary: 'check store definitions, show one, or write their JSON Schema',
    examples: [VALIDATE, SHOW, SCHEMA],
    exits: [74, 77, 78],
  })
    .addCommand(validateCommand())
    .addCommand(showCommand())
    .addCommand(schemaCommand());
}

interface Checked {
  readonly name: string;
  readonly definition: StoreDefinition | Stop;
}

function validateCommand(): Command {
  return describeCommand({
    name: 'validate',
    summary: 'name every mistake in store definitions, with its line and what was probably meant',
    examples: [VALIDATE, 'holdfast config validate ops/shop.yaml'],
    exits: [74, 77, 78],
  })
    .argument('[files...]', 'files, as in a repository; without any, all that this host uses, which must lie apart too')
    .action(async (files: readonly string[], _options: object, command: Command) => {
      const output = outputOf(command);
      const checked = files.length > 0 ? await checkFiles(files) : await checkDirectory(localDefinitions(command));
      const lines = checked.flatMap(({ name, definition }) => {
        if (!(definition instanceof Stop)) return [];
        const { code, message } = definition;
        const problems = problemsIn(definition);
        for (const problem of problems.length > 0 ? problems : [{ problem: message }])
          output.event('problem', { file: name, code, ...problem });
        if (problems.length === 0) return [`${name}: ${message}`];
        return problems.map(({ line, column, key, problem }) =>
          [`${name}:${line}:${column}`, ...(key === '' ? [] : [key]), problem].join(': '),
        );
      });
      output.lines(lines);
      const invalid = checked.flatMap(({ definition }) => (definition instanceof Stop ? [definition] : []));
      const [first] = invalid;
      const sum = { checked: checked.length, invalid: invalid.length };
      const counted = formatCount(checked.length, 'definition');
      if (first !== undefined) throw new Stop(first.code, `${invalid.length} of ${counted} can't be used`, sum);
      output.result(sum, [`${counted}, nothing wrong`]);
    });
}

async function checkFiles(files: readonly string[]): Promise<readonly Checked[]> {
  const { parseDefinitionFile } = await import('../../definitions/load.js');
  const checked: Checked[] = [];
  for (const name of files) checked.push({ name, definition: await orStop(parseDefinitionFile(name)) });
  return checked;
}

/** Each by itself, and all of them together where each is well: two may claim one place. */
async function checkDirectory(directory: string): Promise<readonly Checked[]> {
  const { loadDefinitions, loadDefinitionsAlone } = await import('../../definitions/load.js');
  const alone = await loadDefinitionsAlone(directory);
  const checked = alone.map(({ store, definition }) => ({ name: `${directory}/${store}.yaml`, definition }));
  if (checked.some(({ definition }) => definition instanceof Stop)) return checked;
  const together = await orStop(loadDefinitions(directory));
  return together instanceof Stop ? [...checked, { name: directory, definition: together }] : checked;
}

async function orStop<T>(work: Promise<T>): Promise<T | Stop> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Stop) return error;
    throw error;
  }
}

function problemsIn(stop: Stop): readonly DefinitionProblem[] {
  const { problems } = stop.details;
  return Array.isArray(problems) ? (problems as readonly DefinitionProblem[]) : [];
}

function showCommand(): Command {
  return describeCommand({
    name: 'show',
    summary: 'print the definition of a store, as it was written or as it is used',
    examples: ['holdfast config show shop', SHOW],
    exits: [74, 77, 78],
  })
    .argument('<store>', 'store id')
    .option('--effective', 'with every default filled in')
    .action(async (store: string, options: { readonly effective?: boolean }, command: Command) => {
      const { definitionText, loadDefinitionAlone } = await import('../../definitions/load.js');
      const directory = localDefinitions(command);
      if (options.effective !== true) {
        const text = await definitionText(directory, store);
        outputOf(command).result({ store, text }, [text.trimEnd()]);
        return;
      }
      const { effectiveDefinition, writeDefinition } = await import('../../definitions/text.js');
      const definition = await loadDefinitionAlone(directory, store);
      outputOf(command).result({ store, definition: effectiveDefinition(definition) }, [
        writeDefinition(definition).trimEnd(),
      ]);
    });
}

function schemaCommand(): Command {
  return describeCommand({
    name: 'schema',
    summary: 'print the JSON Schema of store definitions, for editors',
    examples: ['holdfast config schema > store-definition.schema.json'],
    exits: [],
  }).action(async (_options: object, command: Command) => {
    const { definitionJsonSchema } = await import('../../definitions/text.js');
    const schema = definitionJsonSchema();
    outputOf(command).result({ schema }, [JSON.stringify(schema, null, 2)]);
  });
}
