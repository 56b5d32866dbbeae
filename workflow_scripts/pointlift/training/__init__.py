"""First floor: one training engine for teachers, distillation and finetuning."""
