"""Many runs out of one file, in processes, resumable, with one small result file each."""
