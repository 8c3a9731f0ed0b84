// STOPs of the vault: stops.ts has them in its table. docs/vault-format.md says what must hold.
import type { StopEntry } from './stop-entry.js';

const NOTHING_CHANGED = 'the live store and the vault are as they were';
const NOTHING_READ = 'nothing was restored from it, and the vault is as it was';

export const VAULT_STOPS = {
  adoption_not_needed: {
    title: 'a signer is to be adopted where nobody doubts one',
    exit: 64,
    safe: 'nothing was started',
    remedy: 'leave --adopt out: it is for one backup that is refused for its signer, and for no other',
  },
  vault_missing: {
    title: 'there is no vault at the place',
    exit: 65,
    safe: NOTHING_CHANGED,
    remedy: 'check the location in the vault settings; `holdfast keys init` makes a new vault',
  },
  vault_invalid: {
    title: 'an object of the vault is not what the format says',
    exit: 65,
    safe: NOTHING_READ,
    remedy: 'use another backup, or a copy of the vault; `holdfast verify` names the backups that it harms',
  },
  vault_object_missing: {
    title: 'an object of the vault is missing',
    exit: 65,
    safe: NOTHING_READ,
    remedy: 'use another backup, or a copy of the vault; `holdfast verify` names the backups that it harms',
  },
  vault_object_foreign: {
    title: 'the vault has an object that does not belong there',
    exit: 65,
    safe: NOTHING_READ,
    remedy: 'find out who put it there, and take it away',
  },
  vault_damaged: {
    title: 'objects of the vault are missing, changed, or do not belong there',
    exit: 65,
    safe: 'nothing was changed; every backup that is not named is intact',
    remedy:
      'see the details for the backups, and restore others, or these from a copy of the vault; `holdfast backup --rehash` writes everything anew',
  },
  chain_broken: {
    title: 'the envelopes of a store do not follow one another',
    exit: 65,
    safe: NOTHING_READ,
    remedy: 'find out who removed or replaced a backup; those before the break can be restored by number',
  },
  backup_vanished: {
    title: 'a backup that this host knows is not in the vault any more',
    exit: 65,
    safe: NOTHING_CHANGED,
    remedy: 'find out who removed it, or which old copy of the vault this is',
  },
  trust_rewound: {
    title: 'the vault offers older trust than this host has seen',
    exit: 65,
    safe: NOTHING_CHANGED,
    remedy: 'find out who removed the newer one, or which old copy of the vault this is',
  },
  signature_invalid: {
    title: 'a signature is not one of the bytes that it stands beside',
    exit: 65,
    safe: NOTHING_READ,
    remedy: 'use another backup, and find out what changed this one',
  },
  backup_not_noted: {
    title: 'the backup was made, but this host could not note what it has made',
    exit: 74,
    safe: 'the live store is as it was; the backup is in the vault, whole, and is listed',
    remedy: 'mend what the details name; the next backup may write again what this one has written',
  },
  index_corrupt: {
    title: 'the index of known chunks is damaged',
    exit: 74,
    safe: NOTHING_CHANGED,
    remedy: 'remove the file that the details name: the next backup is a full one',
  },
  seen_corrupt: {
    title: 'what this host remembers of a vault is damaged',
    exit: 74,
    safe: NOTHING_CHANGED,
    remedy: 'compare the vault with a recovery kit, then remove the file that the details name',
  },
  chain_moved: {
    title: 'another backup of the store took the number first',
    exit: 75,
    safe: 'the live store is as it was; what was written is referred to by nothing',
    remedy: 'start the backup again',
  },
  trust_moved: {
    title: 'someone else with the admin key publishes trust of the same number',
    exit: 75,
    safe: NOTHING_CHANGED,
    remedy: 'look at what the other one published, then start again; see the details if it never ended',
  },
  ssh_keygen_failed: {
    title: 'ssh-keygen did not sign or verify',
    exit: 77,
    safe: NOTHING_CHANGED,
    remedy: "install OpenSSH's ssh-keygen, check the key file; a key with a passphrase needs an agent or a terminal",
  },
  signer_unknown: {
    title: 'the signature is by a key that is not trusted for it',
    exit: 77,
    safe: NOTHING_READ,
    remedy:
      'check whose key it is; the admin key adds it to allowed_signers, or --adopt believes it for this one backup',
  },
  signer_revoked: {
    title: 'the signature is by a key that was revoked',
    exit: 77,
    safe: NOTHING_READ,
    remedy: 'use a backup that was verified before the key was revoked; --adopt believes the key for this one backup',
  },
  signer_expired: {
    title: 'the signature is by a key that has expired',
    exit: 77,
    safe: NOTHING_READ,
    remedy:
      'renew the key in allowed_signers, or use a backup that was verified before; --adopt believes the key for this one backup',
  },
  vault_sealed: {
    title: 'no identity opens what is sealed',
    exit: 77,
    safe: NOTHING_READ,
    remedy: 'give the identity of a person to whom the vault key is sealed, as on the recovery host',
  },
  identity_missing: {
    title: 'reading the vault needs an identity, and none is set',
    exit: 77,
    safe: NOTHING_READ,
    remedy: 'set identityFile or identityCommand in the vault settings of the recovery host',
  },
  secret_exposed: {
    title: 'a file of a secret can be read or written by others',
    exit: 77,
    safe: NOTHING_CHANGED,
    remedy: 'chmod 600 the file, and think about who has read it',
  },
  vault_differs: {
    title: 'it is another vault than this host was given',
    exit: 78,
    safe: NOTHING_CHANGED,
    remedy: 'check location, id and admin in the vault settings; `holdfast keys adopt` is for a foreign vault',
  },
  vault_newer: {
    title: 'the vault has a format that this version does not know',
    exit: 78,
    safe: NOTHING_CHANGED,
    remedy: 'install a newer holdfast',
  },
} as const satisfies Record<string, StopEntry>;
